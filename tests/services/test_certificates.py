"""Who is shown which certificate, and how another one is taken up without stopping anything."""

import asyncio
import datetime
import threading
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.claim.certificate import certificate_pin
from appliance.enrolment.contract import HELLO_PATH
from appliance.enrolment.pinned import NAME_FOR_WORKERS, BoxNotTrusted, BoxRefused, pinned_post
from tests.pool.upstreams import Asked
from tests.services.conftest import Front
from tests.waiting import wait_until

pytestmark = pytest.mark.root


def company_pair(name: str) -> tuple[str, str]:
    """A certificate as a company's IT would bring it, and its key."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), encoded.decode()


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.fixture(autouse=True)
def own_certificate_afterwards(front: Front) -> Iterator[None]:
    yield
    front.lay_out()
    front.reload()
    wait_until(
        lambda: common_name(front.certificate()) == "cellule.local",
        within_seconds=5,
        what="the own one again",
    )


def take_up(front: Front, name: str, **pairs: tuple[str, str]) -> None:
    front.lay_out(**pairs)
    front.reload()
    wait_until(lambda: common_name(front.certificate()) == name, within_seconds=5, what=f"{name} is served")


def test_people_see_the_companys_certificate_and_workers_the_boxs_own(front: Front) -> None:
    pin = certificate_pin(front.settings)
    assert front.nginx is not None
    take_up(front, "cellule.firm.example", kept=company_pair("cellule.firm.example"))
    assert common_name(front.certificate("cellule.firm.example")) == "cellule.firm.example"
    assert common_name(front.certificate(NAME_FOR_WORKERS)) == "cellule.local"
    with front.lab.inside("worker"):
        with pytest.raises(BoxRefused):  # the box was trusted, and answers that this is no hello
            pinned_post((front.address, 443), pin, HELLO_PATH, "{}")
        with pytest.raises(BoxNotTrusted):
            pinned_post((front.address, 443), bytes(32), HELLO_PATH, "{}")
    assert front.nginx.poll() is None


def test_one_on_trial_comes_before_the_one_that_is_kept_and_so_does_the_boxs_own(front: Front) -> None:
    kept = company_pair("kept.firm.example")
    take_up(front, "trial.firm.example", kept=kept, served=company_pair("trial.firm.example"))
    own = tuple((front.settings.secrets_dir / name).read_text() for name in ("tls.crt", "tls.key"))
    take_up(front, "cellule.local", kept=kept, served=(own[0], own[1]))


def test_a_pair_that_cant_be_served_shuts_nobody_out(front: Front) -> None:
    certificate, key = company_pair("broken.firm.example")
    for pair in ((certificate, company_pair("another.firm.example")[1]), ("damaged", key), (certificate, "")):
        take_up(front, "cellule.local", kept=pair)


def test_a_stream_goes_on_while_another_certificate_is_taken_up(front: Front) -> None:
    taken_up = threading.Event()

    async def second_afterwards(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        await asyncio.to_thread(taken_up.wait, 10)
        await asked.token("two ")
        await asked.end_stream()

    before, front.engine.behave = front.engine.behave, second_afterwards
    body = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    headers = {"authorization": f"Bearer {front.secret}"}
    try:
        with (
            front.lab.inside("pc"),
            front.client() as client,
            client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            lines = (line for line in answer.iter_lines() if line)
            assert "one " in next(lines)
            take_up(front, "cellule.firm.example", kept=company_pair("cellule.firm.example"))
            taken_up.set()
            assert "two " in next(lines)
            assert list(lines)[-1] == "data: [DONE]"
    finally:
        front.engine.behave = before


def test_a_renewed_certificate_is_trusted_by_who_trusts_the_authority(front: Front) -> None:
    first, pin = front.certificate(), certificate_pin(front.settings)
    (front.settings.secrets_dir / "tls.crt").unlink()
    front.lay_out()
    front.reload()
    wait_until(lambda: front.certificate() != first, within_seconds=5, what="the renewed one is served")
    assert certificate_pin(front.settings) == pin
    with front.lab.inside("pc"), front.client() as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/ca.crt").content == (front.settings.secrets_dir / "ca.crt").read_bytes()
