"""The box as a PC in the office meets it: TLS, nginx as it ships, the real pool and the real pages behind."""

import asyncio
import re
import ssl
import threading
import warnings

import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from openai import OpenAI

from appliance.boot.checks import Box, check_front
from appliance.boot.failure import CheckFailed
from appliance.boot.places import places
from appliance.boot.trouble_page import trouble_page
from appliance.boot.word import Kind, Word
from appliance.claim.certificate import certificate_pin
from appliance.enrolment import WorkerFacts, approve_worker, create_invitation
from appliance.enrolment.contract import REPORT_PATH, SUBMIT_PATH, Submission, WorkerReport
from appliance.enrolment.pinned import pinned_post
from appliance.enrolment.redeeming import Approved, poll_status, redeem
from appliance.storage import open_activity, open_cellule
from tests.pool.upstreams import Asked
from tests.services.conftest import Front
from tests.waiting import wait_until

pytestmark = pytest.mark.root

SPOOFED = {
    name: "10.77.0.2"
    for name in ("X-Forwarded-For", "X-Real-IP", "X_Forwarded_For", "Client-IP", "X-Cellule-Reached")
} | {
    "Forwarded": "for=10.77.0.2;proto=https",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
}
FACTS = WorkerFacts(name="pc-lab-3", cores=4, os="Debian 13")
MESSAGES = [{"role": "user", "content": "Hello"}]


def test_the_openai_client_needs_the_authority_and_nothing_else(front: Front) -> None:
    with front.lab.inside("pc"), front.client() as http:
        client = OpenAI(base_url=f"https://{front.address}/v1", api_key=front.secret, http_client=http)
        answer = client.chat.completions.create(model="scripted", messages=MESSAGES)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "one two three"
        with pytest.raises(httpx.ConnectError), httpx.Client() as stranger:
            stranger.get(f"https://{front.address}/health/live")


def test_the_verdict_on_a_boot_hears_the_front_itself(front: Front) -> None:
    def asked_at(name: str) -> str:
        settings = front.settings.model_copy(update={"front_socket": front.folder / name})
        return check_front(Box(settings, places(settings)))

    assert asked_at("front.sock") == "The front answers by TLS."
    with pytest.raises(CheckFailed, match="does not answer"):
        asked_at("nobody.sock")


def test_a_stream_is_not_held_back_and_ends_with_its_client(front: Front) -> None:
    seen_first, left = threading.Event(), front.engine.left

    async def second_when_first_was_seen(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.token("one ")
        if await asyncio.to_thread(seen_first.wait, 10):
            await asked.token("two ")
        await asked.until_client_left()

    before, front.engine.behave = front.engine.behave, second_when_first_was_seen
    body = {"model": "scripted", "messages": MESSAGES, "stream": True}
    headers = {"authorization": f"Bearer {front.secret}"}
    try:
        with front.lab.inside("pc"), front.client() as client:
            with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
                lines = (line for line in answer.iter_lines() if line)
                assert "one " in next(lines)
                seen_first.set()
                assert "two " in next(lines)
            wait_until(lambda: front.engine.left > left, within_seconds=5, what="the engine is let go")
    finally:
        front.engine.behave = before


def test_whatever_a_client_says_of_itself_its_address_is_the_connections(front: Front) -> None:
    with front.lab.inside("pc"), front.client() as client:
        page = client.get("/claim").text
        [token] = re.findall(r'<meta name="csrf-token" content="([^"]+)"', page)
        form = {"csrf_token": token, "code": "0000-0000", "name": "eve", "password": "correct horse battery"}
        site = {"referer": f"https://{front.address}/claim", "origin": f"https://{front.address}"}
        client.post("/claim", data=form, headers=SPOOFED | site)
    attempts = open_activity(front.settings.state_dir)["sign_in_attempts"].rows
    assert {attempt["address"] for attempt in attempts} == {front.lab.address("pc")}


def test_wrong_proofs_are_counted_by_the_connections_address(front: Front) -> None:
    wrong = Submission(challenge_id=bytes(16), mac=bytes(32), facts="{}").model_dump_json()

    def submit(computer: str, said: str) -> str:
        with front.lab.inside(computer), front.client() as client:
            answer = client.post(SUBMIT_PATH, content=wrong, headers={"X-Forwarded-For": said})
        return str(answer.json()["error"]["code"])

    codes = [submit("pc", f"10.99.0.{number}") for number in range(100, 111)]
    assert codes == ["enrolment_denied"] * 10 + ["too_many_attempts"]
    assert submit("worker", front.lab.address("pc")) == "enrolment_denied", "another machine may still try"


def test_a_worker_joins_and_reports_through_the_front(front: Front) -> None:
    db = open_cellule(front.settings.state_dir)
    code = create_invitation(db, front.settings, "PC", created_by=None).code
    with front.lab.inside("worker"):
        joined = redeem(code, X25519PrivateKey.generate(), FACTS, [(front.address, 443)])
        approve_worker(db, joined.worker_id, approved_by=None)
        standing = poll_status(joined.address, joined.pin, joined.worker_id, joined.poll_key)
    assert isinstance(standing, Approved)
    assert standing.config.endpoint == f"{front.address}:51820", "the address that the worker reached"
    assert standing.config.report_url == "https://10.77.0.1:443/enrol/report"
    # stands for the tunnel, which has tests of its own: the worker's address in it, on the same cable
    for name, address in (("box", "10.77.0.1"), ("worker", str(standing.config.tunnel_address))):
        front.lab.run(name, ["ip", "address", "add", f"{address}/16", "dev", "eth0"])
    report = WorkerReport(name="pc", agent_version="0.1.0", facts=FACTS, engines=()).model_dump_json()
    pin = certificate_pin(front.settings)
    with front.lab.inside("worker"):
        assert b"approved" in pinned_post(("10.77.0.1", 443), pin, REPORT_PATH, report).body
    said = {"X-Forwarded-For": str(standing.config.tunnel_address)}
    with front.lab.inside("pc"), front.client() as client:
        assert (
            client.post(REPORT_PATH, content=report, headers=said).json()["error"]["code"] == "not_a_worker"
        )


def test_http_is_sent_to_https(front: Front) -> None:
    with front.lab.inside("pc"):
        answer = httpx.get(f"http://{front.address}/workers?page=2", follow_redirects=False)
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://{front.address}/workers?page=2"


@pytest.mark.parametrize("version", list(ssl.TLSVersion)[1:-1])
def test_tls_is_1_2_or_1_3(front: Front, version: ssl.TLSVersion) -> None:
    context = front.trust
    context.set_ciphers("ALL:@SECLEVEL=0")  # or the client itself would refuse the old ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with front.lab.inside("pc"), front.client(verify=context) as client:
        if version >= ssl.TLSVersion.TLSv1_2:
            assert client.get("/health/live").status_code == 200
        else:
            with pytest.raises(httpx.ConnectError):
                client.get("/health/live")


def test_every_answer_is_guarded_and_says_little_of_the_server(front: Front) -> None:
    with front.lab.inside("pc"), front.client() as client:
        for path in ("/claim", "/v1/models", "/nothing", "/static/style.css"):
            answer = client.get(path)
            assert answer.headers.get_list("strict-transport-security") == ["max-age=31536000"], path
            assert answer.headers["server"] == "nginx"


@pytest.mark.parametrize(
    ("path", "size", "refused"),
    [
        ("/claim", 9_000_000, True),
        ("/v1/chat/completions", 9_000_000, True),
        ("/updates/file", 9_000_000, False),
        ("/backups/restore/file", 9_000_000, False),
        ("/restore", 9_000_000, False),
    ],
)
def test_only_uploads_may_be_large(front: Front, path: str, size: int, refused: bool) -> None:
    headers = {"authorization": f"Bearer {front.secret}", "content-type": "application/json"}
    with front.lab.inside("pc"), front.client() as client:
        answer = client.post(path, content=bytes(size), headers=headers)
    assert (answer.status_code == 413) is refused
    if path.startswith("/v1/"):
        assert answer.json()["error"]["code"] == "request_too_large"


def test_who_calls_while_the_product_starts_is_told_to_come_again(front: Front) -> None:
    front.stop_product()
    try:
        with front.lab.inside("pc"), front.client() as client:
            api, page = client.get("/v1/models"), client.get("/")
        for answer in (api, page):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert api.json()["error"]["code"] == "starting"
        assert "Le boîtier démarre" in page.text
        word = Word(kind=Kind.BAD_DATA, version="1.0", check="storage", sentence="cellule.db is damaged.")
        told = front.folder / "boot" / "trouble.html"
        told.parent.mkdir()
        told.write_text(trouble_page(word))
        with front.lab.inside("pc"), front.client() as client:
            page = client.get("/")
        told.unlink()
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")
        assert "cellule.db is damaged." in page.text and "besoin d’aide" in page.text
    finally:
        front.start_product()
        wait_until(front.is_ready, within_seconds=30, what="the product answers again")
