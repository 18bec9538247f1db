"""The admin's tasks page by page: keys, workers, people, overview, own password."""

import html
import json
import re
import time

import pytest

import webadmin
from appliance import enrolment, people
from appliance.claim import authority_path, ensure_certificate
from appliance.people import Role
from appliance.storage import transaction
from tests.accounting.ledger import add_line
from tests.web.conftest import PASSWORD, Site, Visitor


def text_of(page: str, element_id: str) -> str:
    found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', page)
    assert found, f"no #{element_id} in the page"
    return html.unescape(found[1])


# --- API keys ------------------------------------------------------------------------------------


def test_a_key_is_shown_once_with_examples_that_fit_the_box(site: Site, admin: Visitor) -> None:
    answer = admin.post("/keys", {"name": "Ticket <system>", "expiry": "30"})
    secret = text_of(answer.text, "api-key")
    assert secret.startswith("sk-cellule-")
    assert "Bearer $OPENAI_API_KEY" in text_of(answer.text, "curl-example")
    python = text_of(answer.text, "python-example")
    compile(python, "example", "exec")
    assert f'base_url="http://localhost/v1", api_key="{secret}"' in python
    assert secret not in admin.get("/keys").text
    assert "Ticket &lt;system&gt;" in admin.get("/keys").text
    [key] = people.list_api_keys(site.db)
    assert key.expires_at == pytest.approx(time.time() + 30 * 86400, abs=60)
    assert key.account_id == admin.account.id if admin.account else None


def test_a_key_may_live_for_ever_and_be_revoked(site: Site, admin: Visitor) -> None:
    admin.post("/keys", {"name": "script", "expiry": "never"})
    [key] = people.list_api_keys(site.db)
    assert key.expires_at is None
    answer = admin.post(f"/keys/{key.id}/revoke", follow_redirects=True)
    assert "The key is revoked." in answer.text
    assert people.list_api_keys(site.db)[0].revoked_at is not None


@pytest.mark.parametrize(
    "form",
    [{"name": "", "expiry": "7"}, {"name": "x" * 101, "expiry": "7"}, {"name": "x", "expiry": "8"}, {}],
)
def test_a_key_that_cannot_be_is_explained(site: Site, admin: Visitor, form: dict[str, object]) -> None:
    answer = admin.post("/keys", form)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert people.list_api_keys(site.db) == []


def test_the_list_says_when_a_key_was_last_used(site: Site, admin: Visitor) -> None:
    made = people.create_api_key(site.db, "used", account_id=None).record
    people.create_api_key(site.db, "unused", account_id=None)
    add_line(site.activity, 1_700_000_000.0, key_id="another")
    add_line(site.activity, time.time() - 100, key_id=made.id)
    page = admin.get("/keys").text
    rows = {
        name: page.split(f'<td class="name">{name}</td>')[1].split("</tr>")[0] for name in ("used", "unused")
    }
    assert rows["used"].count("<time") == 2
    assert rows["unused"].count("<time") == 1


def test_the_certificate_can_be_saved_when_there_is_one(site: Site, admin: Visitor) -> None:
    assert site.visitor().get("/certificate.pem").status_code == 303
    ensure_certificate(site.settings)
    authority = authority_path(site.settings).read_bytes()
    # the box got another address: what programs trust stays the same
    moved = site.settings.model_copy(update={"tls": True, "listen_host": "192.0.2.7"})
    enrolment.create_invitation(site.db, moved, "pc-1", created_by=None)
    answer = webadmin.create_app(moved).test_client().get("/certificate.pem", base_url="https://box")
    assert answer.data == authority
    assert b"BEGIN CERTIFICATE" in answer.data


# --- workers -------------------------------------------------------------------------------------


def test_an_invitation_shows_its_code_once(site: Site, admin: Visitor) -> None:
    answer = admin.post("/workers/invitations", {"label": "Reception", "valid_for": "3600"})
    code = text_of(answer.text, "invitation-code")
    assert code.startswith("CEL")
    assert text_of(answer.text, "join-line") == "sudo ./build.sh worker join"
    assert code not in text_of(answer.text, "join-line")
    assert code not in admin.get("/workers").text
    [invitation] = enrolment.list_invitations(site.db)
    assert invitation.expires_at - invitation.created_at == pytest.approx(3600)
    assert admin.account
    assert invitation.created_by == admin.account.id


@pytest.mark.parametrize(
    "form",
    [
        {"label": "", "valid_for": "900"},
        {"label": "x", "valid_for": "901"},
        {"label": "x", "valid_for": "٣"},
        {},
    ],
)
def test_an_invitation_that_cannot_be_is_explained(
    site: Site, admin: Visitor, form: dict[str, object]
) -> None:
    answer = admin.post("/workers/invitations", form)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert enrolment.list_invitations(site.db) == []


def test_an_open_invitation_can_be_withdrawn(site: Site, admin: Visitor) -> None:
    admin.post("/workers/invitations", {"label": "Reception", "valid_for": "900"})
    [invitation] = enrolment.list_invitations(site.db)
    answer = admin.post(f"/workers/invitations/{invitation.id}/revoke", follow_redirects=True)
    assert "The invitation is withdrawn." in answer.text
    assert enrolment.list_invitations(site.db)[0].revoked_at is not None
    assert "Open invitations" not in answer.text


@pytest.fixture
def pending(site: Site) -> str:
    """The id of a worker that redeemed its invitation."""
    invitation = enrolment.create_invitation(site.db, site.settings, "pc-12", created_by=None)
    facts = json.dumps(
        {"name": "pc-12", "os": "Debian 12", "cpu": "Ryzen", "cores": 8, "memory_bytes": 2**34}
    )
    with transaction(site.db):
        site.db.execute(
            "INSERT INTO workers"
            " (id, name, public_key, invitation_id, state, short_code, poll_key, facts, created_at)"
            " VALUES ('w1', 'pc-12', 'key', ?, 'pending', '48-21-07', x'00', ?, ?)",
            [invitation.id, facts, time.time()],
        )
        site.db.execute("UPDATE invitations SET redeemed_by = 'w1', redeemed_at = 1")
    return "w1"


def test_a_pending_worker_is_approved_by_its_short_code(site: Site, admin: Visitor, pending: str) -> None:
    page = admin.get("/workers").text
    assert "48-21-07" in page
    assert "Debian 12 · Ryzen · 8 cores · 16\N{NO-BREAK SPACE}GB" in page
    stale = admin.post(f"/workers/{pending}/approve", {"short_code": "00-00-00"})
    assert stale.status_code == 409
    assert "shows another code by now" in stale.text
    answer = admin.post(f"/workers/{pending}/approve", {"short_code": "48-21-07"}, follow_redirects=True)
    assert "pc-12 belongs to the fleet now." in answer.text
    [worker] = enrolment.list_workers(site.db)
    assert (worker.state, worker.tunnel_address is None) == ("approved", False)


def test_a_worker_is_refused_or_revoked(site: Site, admin: Visitor, pending: str) -> None:
    admin.post(f"/workers/{pending}/revoke")
    assert enrolment.list_workers(site.db)[0].state == "revoked"
    assert "pc-12" not in admin.get("/workers").text
    assert admin.post(f"/workers/{pending}/approve", {"short_code": "48-21-07"}).status_code == 409


def test_the_page_learns_what_changed(site: Site, admin: Visitor, pending: str) -> None:
    before = admin.get("/workers.json").json
    admin.post(f"/workers/{pending}/approve", {"short_code": "48-21-07"})
    engine = {"model": "cellule-demo", "ready": True, "slots": 4, "busy": 1, "tokens_per_second": 12.0}
    report = json.dumps(
        {"name": "pc-12", "engines": [engine], "load": {"cpu_percent": 40, "user_active": True}}
    )
    site.activity.execute("INSERT INTO node_reports VALUES ('w1', ?, ?)", [time.time(), report])
    after = admin.get("/workers.json").json
    assert before and after
    assert before["version"] != after["version"] == admin.get("/workers.json").json["version"]  # type: ignore[index]
    assert after["cells"] == {
        "w1.load": "40\N{NO-BREAK SPACE}% CPU, in use",
        "w1.slots": "1 of 4",
        "w1.speed": "12.0\N{NO-BREAK SPACE}tokens/s",
    }


# --- overview ------------------------------------------------------------------------------------


def test_a_new_box_shows_where_to_begin(admin: Visitor) -> None:
    page = admin.get("/overview").text
    assert "Three steps to get going" in page
    assert "This box" in page
    assert "Not seen yet" in page


def test_the_overview_shows_the_ledger_and_says_that_the_model_is_a_demo(site: Site, admin: Visitor) -> None:
    for _ in range(3):
        add_line(site.activity, time.time() - 1, duration_seconds=1.5, first_token_seconds=0.05)
    engine = {
        "model": "cellule-demo",
        "ready": True,
        "demo": True,
        "slots": 8,
        "busy": 2,
        "tokens_per_second": 99.0,
    }
    for node, report in {
        "box": {"name": "box", "engines": [engine], "load": {}},
        "pool": {"queue_length": 7, "max_queue": 256, "in_flight": {}},
    }.items():
        site.activity.execute(
            "INSERT INTO node_reports VALUES (?, ?, ?)", [node, time.time(), json.dumps(report)]
        )
    page = admin.get("/overview").text
    assert "Three steps" not in page
    assert "This is the demo model." in page
    assert "Bring a real one" in page and 'href="/models"' in page
    state = admin.get("/overview.json").json
    assert state
    cells = {name: value.replace("\N{NO-BREAK SPACE}", " ") for name, value in state["cells"].items()}
    assert cells["requests.value"] == "3"
    assert cells["latency.value"] == "1.50 s"
    assert cells["first.value"] == "50 ms"
    assert cells["queue.value"] == "7"
    assert cells["box.slots"] == "2 of 8"
    assert state["shares"] == {"box.slots": 0.25}
    assert sum(state["series"]["requests"]) == 3
    assert state["version"] in page


# --- people and one's own password -----------------------------------------------------------------


def test_a_new_employee_gets_a_password_for_one_use(site: Site, admin: Visitor) -> None:
    answer = admin.post("/people", {"name": "Chantal", "role": "user"})
    password = text_of(answer.text, "initial-password")
    visitor = site.visitor()
    assert visitor.post("/sign-in", {"name": "chantal", "password": password}).status_code == 303
    assert visitor.get("/chat").location == "/account"
    visitor.get("/account")
    form = {"current": password, "new": "another horse battery"}
    assert visitor.post("/account/password", form).status_code == 303
    assert visitor.get("/chat").status_code == 200
    assert password not in admin.get("/people").text


def test_names_are_refused_with_their_reason(site: Site, admin: Visitor) -> None:
    assert admin.post("/people", {"name": "ana", "role": "user"}).status_code == 409
    assert admin.post("/people", {"name": "<b>", "role": "user"}).status_code == 400
    admin.post("/people", {"name": "carl", "role": "root"})
    carl = people.find_account(site.db, "carl")
    assert carl
    assert carl.role is Role.USER


def test_disabling_signs_out_at_once(site: Site, admin: Visitor, employee: Visitor) -> None:
    assert employee.account
    assert employee.get("/chat").status_code == 200
    assert (
        "can&#39;t sign in any more"
        in admin.post(f"/people/{employee.account.id}/disable", follow_redirects=True).text
    )
    assert employee.get("/chat").status_code == 303
    admin.post(f"/people/{employee.account.id}/enable")
    assert site.visitor().post("/sign-in", {"name": "bob", "password": PASSWORD}).status_code == 303


def test_admins_do_not_lock_themselves_out(site: Site, admin: Visitor) -> None:
    assert admin.account
    admin.post(f"/people/{admin.account.id}/disable")
    assert admin.post(f"/people/{admin.account.id}/reset").location == "/account"
    assert admin.get("/people").status_code == 200


def test_ones_own_password_changes_with_the_current_one(site: Site, admin: Visitor) -> None:
    assert admin.account
    elsewhere = site.signed_in(admin.account)
    form = {"current": "wrong", "new": "another horse battery"}
    assert admin.post("/account/password", form).status_code == 403
    assert admin.post("/account/password", {"current": PASSWORD, "new": "short"}).status_code == 400
    assert elsewhere.get("/overview").status_code == 200
    answer = admin.post("/account/password", form | {"current": PASSWORD}, follow_redirects=True)
    assert "Your password is changed." in answer.text
    assert elsewhere.get("/overview").status_code == 303


def test_guessing_the_current_password_is_throttled(admin: Visitor) -> None:
    form = {"current": "wrong", "new": "another horse battery"}
    statuses = [admin.post("/account/password", form).status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]
