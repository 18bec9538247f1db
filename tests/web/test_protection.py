"""What protects the pages: form tokens, headers, cookies, limits, and errors that tell nothing."""

import re
import sqlite3
from io import BytesIO
from pathlib import Path

import pytest

import webadmin
from appliance.people import SESSION_COOKIE, Role
from tests.web.conftest import PASSWORD, Site, Visitor
from webadmin import overview


def test_every_form_needs_its_token(site: Site, admin: Visitor) -> None:
    forms = [rule.rule for rule in site.app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    assert len(forms) > 10
    # to somebody signed in these do nothing but lead on, see test_signin and below
    for form in set(forms) - {"/sign-in", "/restore"}:
        path = form.replace("<", "").replace(">", "")
        for token in ({}, {"csrf_token": "x"}):
            answer = admin.client.post(path, data=token)
            assert answer.status_code == 400, form
            assert "Go back, reload the page" in answer.text


def test_a_blank_box_takes_no_backup_without_the_token(site: Site) -> None:
    upload = {"file": (BytesIO(b"x"), "box.cellule"), "code": site.claim_code}
    assert site.visitor().client.post("/restore", data=upload).status_code == 400


def test_a_claimed_box_reads_nothing_of_a_backup_sent_to_a_blank_one(admin: Visitor) -> None:
    assert admin.client.post("/restore", data={"csrf_token": "x"}).location == "/overview"


def test_a_token_of_another_visitor_is_worth_nothing(site: Site, admin: Visitor, employee: Visitor) -> None:
    employee.get("/account")
    assert admin.post("/keys", {"csrf_token": employee.token, "name": "x", "expiry": "7"}).status_code == 400


def test_every_answer_carries_the_headers(site: Site, admin: Visitor) -> None:
    for path in ("/overview", "/nope", "/static/style.css", "/overview.json", "/sign-out"):
        headers = admin.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
    assert admin.get("/overview").headers["Cache-Control"] == "no-store"
    assert "Server" not in admin.get("/overview").headers


def test_static_files_are_kept_only_under_the_address_of_their_content(admin: Visitor) -> None:
    page = admin.get("/overview").text
    address = page.split('href="/static/style.css')[1].split('"')[0]
    assert "immutable" in admin.get(f"/static/style.css{address}").headers["Cache-Control"]
    assert admin.get("/static/style.css").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("tls", [True, False])
def test_cookies_are_out_of_reach(site: Site, tls: bool) -> None:
    site.account("ana", Role.ADMIN)
    app = webadmin.create_app(site.settings.model_copy(update={"tls": tls}))
    visitor = Visitor(app.test_client())
    scheme = "https" if tls else "http"
    options = {"base_url": f"{scheme}://box", "headers": {"Referer": f"{scheme}://box/sign-in"}}
    visitor.get("/sign-in", **options)
    answer = visitor.post("/sign-in", {"name": "ana", "password": PASSWORD}, **options)
    cookies = {cookie.split("=")[0]: cookie for cookie in answer.headers.getlist("Set-Cookie")}
    session = cookies[SESSION_COOKIE]
    assert "HttpOnly" in session
    assert "SameSite=Strict" in session
    assert "Path=/" in session
    for cookie in cookies.values():
        assert ("Secure" in cookie) is tls


def test_no_template_and_no_script_writes_inline_code() -> None:
    folder = Path(webadmin.__file__).parent
    for template in folder.glob("templates/**/*.html"):
        text = template.read_text()
        assert " style=" not in text, template
        assert " onclick=" not in text, template
        assert "<style" not in text, template
    own = [path for path in folder.glob("static/**/*.js") if "vendor" not in path.parts]
    assert len(own) > 5
    for script in own:
        assert "eval(" not in script.read_text(), script


def test_nothing_is_loaded_from_elsewhere() -> None:
    folder = Path(webadmin.__file__).parent
    for path in [*folder.glob("static/*.css"), *folder.glob("static/*.js")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), path
    # the words of a page may name addresses, its attributes may not lead to any
    for template in folder.glob("templates/**/*.html"):
        elsewhere = re.findall(
            r"\b(?:href|src|srcset|action|data)\s*=\s*[\"']?(?:https?:)?//.*", template.read_text()
        )
        assert elsewhere == [], template


def test_a_form_beyond_the_limit_is_refused(admin: Visitor) -> None:
    assert admin.post("/keys", {"name": "x" * 70_000}).status_code == 413


def test_storage_away_is_a_503_page(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(overview, "usage_overview", locked)
    answer = admin.get("/overview")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "reach its storage" in answer.text
    assert admin.get("/overview.json").json == {
        "error": {"status": 503, "message": "The box can't reach its storage"}
    }


def test_our_own_bug_is_logged_and_not_shown(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("planted-detail")

    monkeypatch.setattr(overview, "usage_overview", bug)
    answer = admin.get("/overview")
    assert answer.status_code == 500
    assert "planted-detail" not in answer.text
    assert "planted-detail" in caplog.text


def test_what_people_type_reaches_no_log(
    site: Site, admin: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    site.visitor().post("/sign-in", {"name": "ana", "password": "planted-secret-1"})
    made = admin.post("/keys", {"name": "planted-name", "expiry": "7"})
    assert made.status_code == 200
    assert "planted" not in caplog.text
    assert "sk-cellule-" not in caplog.text
