"""What the person who starts the box is told: what is still of use, and nothing else."""

import sqlite3
from ipaddress import IPv4Network

import pytest

from appliance import claim, people
from appliance.people import Role
from appliance.settings import Settings
from appliance.storage import SchemaTooNew, open_cellule
from appliance.supervisor import preparation
from appliance.supervisor.preparation import prepare, take_state


def test_the_claim_code_is_told_until_the_box_is_claimed(settings: Settings) -> None:
    first = prepare(settings)
    assert first.claim_code
    assert prepare(settings).claim_code == first.claim_code
    with open_cellule(settings.state_dir) as database:
        people.create_account(database, "ana", "correct horse battery", Role.ADMIN, "en")
    assert prepare(settings).claim_code is None
    assert claim.read_claim_code(settings) is None, "nor does it lie about"


def test_the_demo_key_is_of_this_state_alone_and_told_until_it_is_revoked(settings: Settings) -> None:
    secret = prepare(settings).demo_api_key
    assert secret and prepare(settings).demo_api_key == secret
    assert (settings.secrets_dir / "demo-api-key").stat().st_mode & 0o777 == 0o600
    with open_cellule(settings.state_dir) as database:
        [key] = people.list_api_keys(database)
        people.revoke_api_key(database, key.id)
        assert prepare(settings).demo_api_key is None
        assert len(people.list_api_keys(database)) == 1, "a revoked key is not replaced behind one's back"


def test_there_is_no_demo_key_outside_of_development(settings: Settings) -> None:
    assert prepare(settings.model_copy(update={"development": False})).demo_api_key is None


def test_a_start_that_broke_off_while_making_the_key_is_made_good(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "replace", disk_full)
        with pytest.raises(OSError, match="No space"):
            prepare(settings)
    assert prepare(settings).demo_api_key


def test_a_state_directory_that_cant_be_made_is_refused_with_a_sentence(settings: Settings) -> None:
    file = settings.state_dir / "file"
    file.touch()
    with pytest.raises(preparation.StateUnusable, match=r"can't be used.*--state"):
        take_state(Settings(state_dir=file / "state"))
    with pytest.raises(preparation.StateUnusable, match="too long"):
        take_state(Settings(state_dir=settings.state_dir / ("x" * 100)))


@pytest.mark.parametrize("newer", ["cellule.db", "activity.db"])
def test_a_file_of_a_newer_version_leaves_the_other_one_as_it_is(settings: Settings, newer: str) -> None:
    prepare(settings)
    other = settings.state_dir / ({"cellule.db", "activity.db"} - {newer}).pop()
    with sqlite3.connect(settings.state_dir / newer) as database:
        database.execute("INSERT INTO migrations (name, applied_at) VALUES ('9999_of_tomorrow', 1)")
    database.close()
    for path in settings.state_dir.glob(f"{other.name}*"):
        path.unlink()
    with pytest.raises(SchemaTooNew, match=newer):
        prepare(settings)
    assert not other.exists(), "nor was it made anew"


def test_folders_that_were_open_to_others_are_closed_and_leftovers_removed(settings: Settings) -> None:
    for folder in (settings.run_dir, settings.secrets_dir):
        folder.chmod(0o755)
    kept = settings.state_dir / "kept"
    kept.mkdir()
    (settings.run_dir / "folder" / "deeper").mkdir(parents=True)
    (settings.run_dir / "old.sock").touch()
    (settings.run_dir / "link").symlink_to(kept)
    with take_state(settings):
        assert not list(settings.run_dir.iterdir())
    assert kept.exists()
    for folder in (settings.run_dir, settings.secrets_dir):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_office_with_the_tunnel_s_addresses_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_lan = settings.model_copy(update={"host_simulated": False})
    preparation.refuse_overlapping_network(on_the_lan)
    # loopback is an interface that every machine has: let the tunnel be there
    monkeypatch.setattr("appliance.enrolment.lan._TUNNEL", IPv4Network("127.0.0.0/8"))
    with pytest.raises(preparation.NetworksOverlap, match=r"127\.0\.0\.1"):
        preparation.refuse_overlapping_network(on_the_lan)
    preparation.refuse_overlapping_network(settings)
    preparation.refuse_overlapping_network(on_the_lan.model_copy(update={"wireguard_interface": "lo"}))
