"""The setup after the claim: step by step, left and taken up again, with a machine and without one."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import webadmin
from appliance.claim import SetupChoice, ensure_claim_code, following, open_steps
from appliance.host.machine import MachineStatus
from appliance.host.simulated import SimulatedHost
from appliance.keeping import backup_key, is_backup_key_confirmed
from appliance.people import Role, audit_lines
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, read_choice
from appliance.updating import UpdateChoice, Weekday
from tests.console.conftest import brokering
from tests.web.conftest import PASSWORD, Site, Visitor

STEPS = ("recovery-key", "backup-key", "name", "network", "certificate", "updates")


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Site]:
    """An unclaimed box on a machine of its own."""
    settings = Settings(
        state_dir=tmp_path,
        run_dir=tmp_path / "run",
        host_dir=tmp_path / "host",
        appliance=True,
        host_simulated=True,
    )
    code = ensure_claim_code(settings)
    assert code
    with closing(open_cellule(tmp_path)) as db, closing(open_activity(tmp_path)) as activity:
        yield Site(settings, webadmin.create_app(settings), db, activity, code)


@pytest.fixture
def machine(appliance: Site) -> Iterator[SimulatedHost]:
    host = SimulatedHost(appliance.settings.wireguard_key_path, appliance.settings.host_dir)
    with brokering(appliance.settings, host):
        yield host


def events(site: Site) -> list[tuple[str, str]]:
    return [(line.event, line.subject) for line in reversed(audit_lines(site.activity))]


def claimed(site: Site) -> Visitor:
    visitor = site.visitor()
    visitor.get("/claim")
    form = {"code": site.claim_code, "name": "ana", "password": PASSWORD, "language": "en"}
    answer = visitor.post("/claim", form)
    assert (answer.status_code, answer.location) == (303, "/setup")
    # a page of the new session, with the token of its forms
    visitor.get("/overview")
    return visitor


def test_the_claim_leads_through_every_step(appliance: Site, machine: SimulatedHost) -> None:
    ana = claimed(appliance)
    assert ana.get("/setup").location == "/setup/recovery-key"
    shown = ana.post("/setup/recovery-key", {"do": "make"}).text
    key = machine.box.recovery_key
    assert key and key in shown
    # what was shown is not shown again, and what is typed must be that
    page = ana.get("/setup/recovery-key").text
    assert key not in page and "Type the recovery key back" in page
    answer = ana.post("/setup/recovery-key", {"typed": key[:-1]})
    assert answer.status_code == 403 and "This is not the recovery key that was shown" in answer.text
    answer = ana.post("/setup/recovery-key", {"typed": key.upper().replace("-", " ")})
    assert answer.location == "/setup/backup-key"

    offered = backup_key(appliance.settings)
    assert offered and offered.text in ana.get("/setup/backup-key").text
    answer = ana.post("/setup/backup-key", {"typed": "0000-1111"})
    assert answer.status_code == 400 and "a character is wrong or missing" in answer.text
    assert not is_backup_key_confirmed(appliance.settings)
    answer = ana.post("/setup/backup-key", {"typed": offered.text.lower()})
    assert answer.location == "/setup/name"
    assert is_backup_key_confirmed(appliance.settings)
    assert offered.text not in ana.get("/setup/backup-key").text

    answer = ana.post("/setup/name", {"hostname": "Accueil.local", "timezone": "Europe/Paris"})
    assert answer.location == "/setup/network"
    assert (machine.box.plan.hostname, machine.box.plan.timezone) == ("accueil", "Europe/Paris")
    assert "192.0.2.10/24" in ana.get("/setup/network").text
    assert ana.post("/setup/network").location == "/setup/certificate"
    assert "Trusted Root Certification Authorities" in ana.get("/setup/certificate").text
    assert ana.post("/setup/certificate").location == "/setup/updates"
    form = {"automatic": "no", "days": ["5", "6"], "begins": "22:30", "ends": "04:00"}
    assert ana.post("/setup/updates", form).location == "/setup/end"
    choice = read_choice(appliance.db, UpdateChoice)
    assert choice.window.days == {Weekday.SATURDAY, Weekday.SUNDAY}
    assert (str(choice.window.begins), choice.automatic) == ("22:30:00", False)

    assert "Still open" not in ana.get("/setup/end").text
    assert ana.get("/setup").location == "/setup/end"
    assert "The setup is not finished" not in ana.get("/overview").text
    assert events(appliance) == [
        ("admin:box:claimed", "box"),
        ("admin:recovery-key:made", "recovery-key"),
        ("admin:backup:changed", "backup-key"),
        ("admin:machine:changed", "name"),
        ("admin:updates:changed", "window"),
    ]
    assert key not in "".join(line.detail for line in audit_lines(appliance.activity))


def test_steps_are_left_and_taken_up_again(appliance: Site, machine: SimulatedHost) -> None:
    ana = claimed(appliance)
    assert ana.post("/setup/network").location == "/setup/certificate"
    assert "1 of 6 steps are done" in ana.get("/overview").text
    # another browser, another day
    later = appliance.signed_in(appliance.account("bea", Role.ADMIN))
    assert later.get("/setup").location == "/setup/recovery-key"
    page = later.get("/setup/certificate").text
    assert 'href="/setup/network"' in page and 'href="/setup/updates"' in page
    end = later.get("/setup/end").text
    assert "Still open" in end
    # enough is enough: the hint goes, the steps stay reachable
    assert later.post("/setup/end").location == "/overview"
    assert "The setup is not finished" not in later.get("/overview").text
    assert later.get("/setup/updates").status_code == 200
    assert machine.box.recovery_key == ""


def test_chat_never_waits_for_the_setup(appliance: Site, machine: SimulatedHost) -> None:
    ana = claimed(appliance)
    assert machine.box.is_on
    assert ana.get("/chat").status_code == 200
    employee = appliance.signed_in(appliance.account("bob", Role.USER))
    assert employee.get("/chat").status_code == 200
    for page in ("/setup", *(f"/setup/{step}" for step in STEPS)):
        assert employee.get(page).status_code == 403
        assert appliance.visitor().get(page).location == f"/sign-in?next={page}"


@pytest.mark.parametrize(
    ("step", "form", "sentence"),
    [
        ("name", {"hostname": "a b", "timezone": "Europe/Paris"}, "small letters, digits and dashes"),
        ("name", {"hostname": "-a", "timezone": "Europe/Paris"}, "small letters, digits and dashes"),
        ("name", {"hostname": "a", "timezone": "Europe/Atlantis"}, "There is no such time zone"),
        ("name", {"hostname": "a", "timezone": "../etc/passwd"}, "There is no such time zone"),
        ("updates", {"begins": "02:00", "ends": "05:00"}, "Choose at least one day"),
        ("updates", {"days": ["7"], "begins": "02:00", "ends": "05:00"}, "Choose at least one day"),
        ("updates", {"days": ["x"], "begins": "02:00", "ends": "05:00"}, "Choose at least one day"),
        ("updates", {"days": ["1"], "begins": "25:00", "ends": ""}, "Choose at least one day"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(
    appliance: Site, machine: SimulatedHost, step: str, form: dict[str, object], sentence: str
) -> None:
    ana = claimed(appliance)
    answer = ana.post(f"/setup/{step}", form)
    assert answer.status_code == 400
    assert sentence in answer.text
    assert machine.box.plan.hostname == "cellule"
    assert read_choice(appliance.db, UpdateChoice) == UpdateChoice()
    assert read_choice(appliance.db, SetupChoice).done == ()


class WithoutTpm(SimulatedHost):
    def machine_status(self) -> MachineStatus:
        status = super().machine_status()
        data = status.data.model_copy(update={"encrypted": False, "tpm_bound": False})
        return status.model_copy(update={"tpm": False, "data": data})


def test_without_a_tpm_it_says_so_and_goes_on(appliance: Site) -> None:
    host = WithoutTpm(appliance.settings.wireguard_key_path, appliance.settings.host_dir)
    with brokering(appliance.settings, host):
        ana = claimed(appliance)
        page = ana.get("/setup/recovery-key").text
        assert "the disk is not encrypted" in page and "Make the recovery key" not in page
        assert ana.post("/setup/recovery-key").location == "/setup/backup-key"
    assert host.box.recovery_key == ""


def test_while_the_broker_is_away_a_step_says_so_and_can_wait(appliance: Site) -> None:
    ana = claimed(appliance)
    answer = ana.get("/setup/name")
    assert answer.status_code == 503
    assert "does not answer" in answer.text and 'href="/setup/network"' in answer.text
    assert ana.post("/setup/name", {"hostname": "a", "timezone": "Europe/Paris"}).status_code == 503
    assert ana.get("/setup/backup-key").status_code == 200


def test_without_a_machine_of_its_own_only_what_makes_sense_is_asked(site: Site) -> None:
    settings = site.settings.model_copy(update={"host_simulated": False})
    site.app = webadmin.create_app(settings)
    admin = site.signed_in(site.account("ana", Role.ADMIN))
    # in development nobody is led through it
    assert "The setup is not finished" not in admin.get("/overview").text
    assert admin.get("/setup").location == "/setup/backup-key"
    assert admin.get("/setup/network").status_code == 404
    assert admin.get("/setup/updates").status_code == 200


def test_a_typed_key_of_a_stale_form_is_refused_before_one_was_shown(
    appliance: Site, machine: SimulatedHost
) -> None:
    ana = claimed(appliance)
    assert ana.post("/setup/recovery-key", {"typed": ""}).status_code == 403
    assert machine.box.recovery_key == ""


def test_the_rules_of_the_steps() -> None:
    choice = SetupChoice().with_done("name").with_done("name").with_done("network")
    assert choice.done == ("name", "network")
    assert open_steps(choice, STEPS) == ("recovery-key", "backup-key", "certificate", "updates")
    assert following("recovery-key", STEPS) == "backup-key"
    assert following("updates", STEPS) is None
    # a version that has other steps
    assert open_steps(SetupChoice(done=("gone",)), ("new",)) == ("new",)
