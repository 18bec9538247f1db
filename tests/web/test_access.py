"""Every page as every kind of visitor: nothing is open by having been forgotten."""

import re

import pytest

from appliance.people import Role
from tests.web.conftest import PASSWORD, Site, Visitor

ADMIN_PAGES = (
    "/backups",
    "/backups.json",
    "/reset",
    "/overview",
    "/overview.json",
    "/workers",
    "/workers.json",
    "/models/handout",
    "/models/handout.json",
    "/hardware",
    "/hardware.json",
    "/plan",
    "/plan.json",
    "/plan/sizing",
    "/models",
    "/models.json",
    "/models/catalogue",
    "/models/bring",
    "/models/internet",
    "/keys",
    "/people",
    "/updates",
    "/updates.json",
    "/setup/end",
    "/machine",
    "/machine/change",
    "/machine/change.json",
    "/machine/software",
    "/support",
    "/support.json",
    "/audit",
    "/audit.csv",
)
ADMIN_FORMS = (
    "/models/aliases",
    "/models/aliases/remove",
    "/models/replace",
    "/models/check",
    "/models/pins",
    "/models/remove",
    "/models/gets/x/cancel",
    "/models/gets/x/again",
    "/models/gets/x/dismiss",
    "/models/catalogue/x",
    "/models/bring/look",
    "/models/bring/carried",
    "/models/copies",
    "/models/unload",
    "/models/uploads",
    "/models/uploads/x/chunk",
    "/models/internet",
    "/models/internet/token",
    "/models/internet/token/forget",
    "/updates/install",
    "/updates/restart",
    "/updates/look",
    "/updates/stick",
    "/updates/hold",
    "/updates/choices",
    "/updates/file",
    "/machine/network",
    "/machine/name",
    "/machine/outbound/close",
    "/machine/certificate",
    "/machine/change/keep",
    "/machine/change/undo",
    "/machine/power",
    "/backups/target",
    "/backups/target/none",
    "/backups/server-key",
    "/backups/now/x",
    "/backups/key",
    "/backups/key/new",
    "/backups/key/sheet",
    "/backups/key/adopt",
    "/backups/file",
    "/backups/restore/file",
    "/backups/restore/snapshot/x",
    "/backups/restore/confirm",
    "/backups/restore/undo",
    "/backups/restore/discard",
    "/reset",
    "/keys",
    "/keys/x/revoke",
    "/workers/invitations",
    "/workers/invitations/x/revoke",
    "/workers/x/approve",
    "/workers/x/revoke",
    "/models/handout",
    "/hardware/x/adopt",
    "/hardware/x/release",
    "/plan/apply",
    "/plan/choices",
    "/plan/pins",
    "/plan/splits",
    "/plan/sizing",
    "/people",
    "/people/x/reset",
    "/people/x/disable",
    "/people/x/enable",
    "/starts/x/seen",
    "/setup/x",
    "/setup/end",
    "/support/bundle",
    "/support/bundle/download",
    "/support/bundle/discard",
    "/support/session",
    "/support/session/cut",
    "/audit/kept",
)
# about one thing that must exist, or a way to it: tests/boot/test_pages.py, test_wizard.py and test_models.py
# open them
PAGES_ABOUT_ONE = {
    "/models/catalogue/x",
    "/models/uploads/x.json",
    "/support/bundle/x",
    "/machine/software.cdx.json",
    "/backups/restore",
    "/starts/x",
    "/starts/x.txt",
    "/setup",
    "/setup/x",
}
PUBLIC = {"/", "/restore", "/sign-in", "/claim", "/certificate.pem", "/ca.crt", "/static/x"}
PUBLIC_FORMS = {"/restore", "/sign-in", "/sign-out", "/claim", "/language"}


def test_the_lists_of_this_file_name_every_page(site: Site) -> None:
    def addresses(method: str) -> set[str]:
        rules = site.app.url_map.iter_rules()
        return {re.sub("<[^>]+>", "x", rule.rule) for rule in rules if method in (rule.methods or ())}

    pages = addresses("GET")
    chat = {page for page in pages if page.startswith("/chat")}
    assert pages == PUBLIC | {"/account"} | chat | set(ADMIN_PAGES) | PAGES_ABOUT_ONE
    for page in pages - PUBLIC:
        assert site.visitor().get(page).status_code in {303, 401}, page
    assert addresses("POST") == PUBLIC_FORMS | {"/account/password"} | set(ADMIN_FORMS)


@pytest.mark.parametrize("page", ADMIN_PAGES)
def test_admin_pages(site: Site, admin: Visitor, employee: Visitor, page: str) -> None:
    assert admin.get(page).status_code == 200
    assert employee.get(page).status_code == 403
    answer = site.visitor().get(page)
    if page.endswith(".json"):
        # a script that polls must not take the sign-in page for its answer
        message = "Your session has ended. Sign in again."
        assert (answer.status_code, answer.json) == (401, {"error": {"status": 401, "message": message}})
    else:
        assert (answer.status_code, answer.location) == (303, f"/sign-in?next={page}")


@pytest.mark.parametrize("form", ADMIN_FORMS)
def test_admin_forms(site: Site, admin: Visitor, employee: Visitor, form: str) -> None:
    before = list(site.db.conn.iterdump())
    assert employee.post(form).status_code == 403
    answer = site.visitor().post(form)
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    sessions = "sessions"
    assert [line for line in site.db.conn.iterdump() if sessions not in line] == [
        line for line in before if sessions not in line
    ]


def test_things_that_do_not_exist(admin: Visitor) -> None:
    for form in ADMIN_FORMS:
        if "/x/" in form:
            assert admin.post(form).status_code == 404, form


def test_employees_see_their_own_pages(employee: Visitor) -> None:
    assert employee.get("/account").status_code == 200
    assert employee.get("/chat").status_code == 200
    page = employee.get("/chat").text
    assert 'href="/keys"' not in page


def test_everyone_lands_where_their_work_is(site: Site, admin: Visitor, employee: Visitor) -> None:
    assert admin.get("/").location == "/overview"
    assert employee.get("/").location == "/chat"
    assert site.visitor().get("/").location == "/sign-in"


@pytest.mark.parametrize("path", ["/", "/overview", "/sign-in", "/chat", "/account"])
def test_an_unclaimed_box_has_one_page(site: Site, path: str) -> None:
    assert site.visitor().get(path).location == "/claim"


def test_an_initial_password_must_be_replaced_first(site: Site, admin: Visitor) -> None:
    visitor = site.signed_in(site.account("eve", Role.ADMIN, initial=True))
    for page in (*ADMIN_PAGES, "/chat", "/"):
        assert visitor.get(page, follow_redirects=True).request.path == "/account", page
    assert 'class="nav"' not in visitor.get("/account").text
    unchanged = visitor.post("/account/password", {"current": PASSWORD, "new": PASSWORD})
    assert (unchanged.status_code, "Choose another one" in unchanged.text) == (400, True)
    assert visitor.get("/overview").location == "/account"
    form = {"current": PASSWORD, "new": "another horse battery"}
    assert visitor.post("/account/password", form).status_code == 303
    assert visitor.get("/overview").status_code == 200


@pytest.mark.parametrize("path", ["/nope", "/static/nope.js", "/keys/", "/static/../secret.py"])
def test_unknown_paths_get_a_page(admin: Visitor, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


def test_a_wrong_method_says_which_are_right(admin: Visitor) -> None:
    answer = admin.get("/sign-out")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
