"""The machine's page: what is typed is judged before anything changes, and a guarded change counts down."""

import datetime
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.host import MachinePlan, Outbound
from appliance.host.broker import Broker
from appliance.host.simulated import SimulatedHost
from appliance.keeping import follow_change, pending_change
from appliance.people import SESSION_COOKIE, audit_lines, start_session
from appliance.storage import write_choice
from appliance.updating import UpdateChoice, outbound_of
from tests.web.conftest import Site, Visitor
from webadmin import machine

STATIC = {"method": "static", "address": "192.168.7.20/24", "gateway": "192.168.7.1", "dns": "192.168.7.1"}


@pytest.fixture
def host(site: Site) -> Iterator[SimulatedHost]:
    """The simulated machine behind a real broker."""
    settings = site.settings
    host = SimulatedHost(settings.wireguard_key_path, settings.host_dir)
    with Broker(settings.broker_socket, host, settings.wireguard_interface) as broker:
        thread = threading.Thread(target=broker.serve_forever, args=(0.02,))
        thread.start()
        yield host
        broker.shutdown()
        thread.join(5)


def a_pair(days: int = 30, *names: str) -> tuple[str, str]:
    """A certificate of one's own making, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cellule.example.org")])
    today = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=90))
        .not_valid_after(today + datetime.timedelta(days=days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, names)), critical=False)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(), pem


def test_the_page_shows_the_machine(site: Site, admin: Visitor, host: SimulatedHost) -> None:
    page = admin.get("/machine").text
    for words in ("192.0.2.10/24", "Europe/Paris", "slot A", "TPM", "Example NVMe", "lets nothing out"):
        assert words in page


def test_without_a_broker_it_says_so(admin: Visitor) -> None:
    page = admin.get("/machine")
    assert page.status_code == 200
    assert "does not answer" in page.text


def test_an_employee_sees_none_of_it(employee: Visitor) -> None:
    for path in ("/machine", "/machine/change", "/machine/change.json", "/machine/software"):
        assert employee.get(path).status_code == 403
    assert employee.post("/machine/power", {"do": "off"}).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"address": "192.168.7.20"}, "not an address"),
        ({"address": "192.168.7.x/24"}, "length of its network"),
        ({"address": "192.168.7.255/24"}, "not an address"),
        ({"address": "10.77.3.2/24", "gateway": ""}, "overlaps"),
        ({"address": "10.0.0.2/8", "gateway": ""}, "overlaps"),
        ({"gateway": "192.168.8.1"}, "another address of 192.168.7.0/24"),
        ({"gateway": "192.168.7.20"}, "another address of 192.168.7.0/24"),
        ({"dns": "dns.example.org"}, "Name servers are addresses"),
        ({"dns": "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4"}, "At most three"),
    ],
)
def test_a_network_that_cannot_work_is_refused_and_what_was_typed_stays(
    site: Site, admin: Visitor, host: SimulatedHost, wrong: dict[str, str], words: str
) -> None:
    page = admin.post("/machine/network", STATIC | wrong)
    assert page.status_code == 400
    assert words in page.text
    assert all(f'value="{typed}"' in page.text for typed in (STATIC | wrong).values() if typed)
    assert pending_change(site.db) is None


def at_address(site: Site, admin: Visitor, address: str) -> tuple[Visitor, str]:
    """The admin signed in anew at an address, as browsers must, and its base URL."""
    assert admin.account
    visitor, base = site.visitor(), f"http://{address}:8080"
    token = start_session(site.db, admin.account.id).token
    visitor.client.set_cookie(SESSION_COOKIE, token, domain=address)
    visitor.get("/machine", base_url=base)
    return visitor, base


def test_a_new_address_counts_down_and_is_kept_from_there(
    site: Site, admin: Visitor, host: SimulatedHost
) -> None:
    here, old = at_address(site, admin, "192.0.2.10")
    answer = here.post("/machine/network", STATIC, base_url=old)
    assert answer.headers["Location"].endswith("/machine/change")
    page = here.get("/machine/change", base_url=old).text
    assert 'href="http://192.168.7.20:8080/machine/change"' in page
    follow_change(site.settings, host, at=time.time() + 1)
    change = pending_change(site.db)
    assert change is not None
    refused = here.post("/machine/change/keep", {"change": change.id}, base_url=old)
    assert refused.status_code == 409 and "only from the new address" in refused.text
    state = here.get("/machine/change.json", base_url=old)
    assert state.json == {"state": "pending", "applied": True}
    there, new = at_address(site, admin, "192.168.7.20")
    assert "Keep the change" in there.get("/machine/change", base_url=new).text
    assert there.post("/machine/change/keep", {"change": change.id}, base_url=new).status_code == 303
    assert str(host.machine_plan().network.address) == "192.168.7.20/24"
    assert [line.event for line in audit_lines(site.activity)][:2] == [
        "admin:change:confirmed",
        "admin:machine:changed",
    ]


def test_a_change_can_be_undone_at_once(site: Site, admin: Visitor, host: SimulatedHost) -> None:
    admin.post("/machine/network", STATIC)
    follow_change(site.settings, host, at=time.time() + 1)
    second = admin.post("/machine/name", {"hostname": "archive", "timezone": "Europe/Paris"})
    assert second.status_code == 409 and "Another change waits" in second.text
    admin.post("/machine/change/undo")
    assert "was undone" in admin.get("/machine/change").text
    assert host.box.plan_on_trial is None


def test_the_clock_is_set_without_a_countdown(site: Site, admin: Visitor, host: SimulatedHost) -> None:
    form = {"hostname": "cellule", "timezone": "Europe/Paris", "ntp_servers": "192.0.2.1, time.example.org"}
    admin.post("/machine/name", form)
    assert host.machine_plan() == MachinePlan(
        timezone="Europe/Paris", ntp_servers=("192.0.2.1", "time.example.org")
    )
    assert admin.post("/machine/name", form | {"hostname": "two words"}).status_code == 400
    assert admin.post("/machine/name", form | {"timezone": "Europe/Atlantis"}).status_code == 400


def test_a_certificate_is_judged_before_it_is_served(site: Site, admin: Visitor, host: SimulatedHost) -> None:
    good, key = a_pair(30, "cellule.example.org")
    _other, other_key = a_pair(30, "cellule.example.org")
    expired, expired_key = a_pair(-1, "cellule.example.org")
    nameless, nameless_key = a_pair(30)
    for certificate, its_key, words in (
        ("nonsense", key, "not text in PEM form (BEGIN CERTIFICATE)"),
        (good, "nonsense", "not text in PEM form (BEGIN PRIVATE KEY)"),
        (good, other_key, "does not belong to the first certificate"),
        (good + _other, key, "chain is broken"),
        (expired, expired_key, "expired on"),
        (nameless, nameless_key, "names no site"),
    ):
        page = admin.post("/machine/certificate", {"certificate": certificate, "key": its_key})
        assert page.status_code == 400 and words in page.text
        assert its_key not in page.text
        assert host.box.certificates_on_trial is None
    assert admin.post("/machine/certificate", {"certificate": good, "key": key}).status_code == 303
    assert host.box.certificates_on_trial and host.box.certificates_on_trial.company == (good, key)
    change = pending_change(site.db)
    assert change is not None
    admin.post("/machine/change/keep", {"change": change.id})
    assert host.box.certificates.company == (good, key)


def test_a_connection_outward_says_why_and_is_closed_guarded(
    site: Site, admin: Visitor, host: SimulatedHost
) -> None:
    host.apply_machine(MachinePlan(outbound=(Outbound(host="up.example.org", port=443, why="Updates"),)))
    page = admin.get("/machine").text
    assert "up.example.org" in page and "Updates" in page
    admin.post("/machine/outbound/close", {"connection": "up.example.org:443/tcp"})
    change = pending_change(site.db)
    assert change is not None and change.plan is not None and change.plan.outbound == ()


def test_the_connection_of_updates_is_closed_where_it_was_opened(
    site: Site, admin: Visitor, host: SimulatedHost
) -> None:
    choice = UpdateChoice(channel_url="https://up.example.org/stable/")
    write_choice(site.db, choice, chosen_by=admin.account.id if admin.account else None)
    backups = Outbound(host="nas.example.org", port=443, why="backups")
    host.apply_machine(MachinePlan(outbound=(*outbound_of(choice), backups)))
    page = admin.get("/machine").text
    assert "closed on the page Updates" in page
    assert 'value="up.example.org:443/tcp"' not in page
    assert 'value="nas.example.org:443/tcp"' in page


def test_the_box_restarts_and_turns_off_by_its_form_alone(
    site: Site, admin: Visitor, host: SimulatedHost
) -> None:
    before = host.box.booted_at
    assert "restarts" in admin.post("/machine/power", {"do": "restart"}).text
    assert host.box.booted_at > before
    assert "turns off" in admin.post("/machine/power", {"do": "off"}).text
    assert not host.box.is_on
    assert [line.subject for line in audit_lines(site.activity)][:2] == ["power-off", "restart"]


def test_the_software_is_listed_with_licences_and_filtered(
    admin: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no list" in admin.get("/machine/software").text
    sbom = tmp_path / "sbom.cdx.json"
    components = [
        {"type": "library", "name": "openssl", "version": "3.5", "purl": "pkg:deb/debian/openssl@3.5"},
        {
            "type": "library",
            "name": "flask",
            "version": "3.1",
            "purl": "pkg:pypi/flask@3.1",
            "licenses": [{"license": {"id": "BSD-3-Clause"}}],
        },
        {
            "type": "machine-learning-model",
            "name": "cellule-demo",
            "licenses": [{"expression": "Apache-2.0"}],
        },
    ]
    sbom.write_text(json.dumps({"bomFormat": "CycloneDX", "components": components}))
    monkeypatch.setattr(machine, "SBOM", sbom)
    page = admin.get("/machine/software").text
    for words in ("openssl", "Debian", "flask", "BSD-3-Clause", "cellule-demo", "Apache-2.0", "3 of 3"):
        assert words in page
    filtered = admin.get("/machine/software?q=python+bsd").text
    assert "flask" in filtered and ">openssl<" not in filtered
    assert json.loads(admin.get("/machine/software.cdx.json").data)["bomFormat"] == "CycloneDX"
