"""The backup pages as an admin uses them, without scripts: key, target, file, restore, blank box, reset."""

import io
import re
from collections.abc import Iterator
from threading import Thread

import pytest

from appliance.host import this_machine
from appliance.host.broker import Broker
from appliance.keeping import apply_pending_restore, backup_key, keep, last_restore, pack_box
from appliance.keeping.nightly import finish_restore
from appliance.keeping.targets import BackupChoice, SftpTarget, TargetKind, target_secret
from appliance.people import Role, audit_lines, create_account, list_accounts
from appliance.settings import Settings
from appliance.storage import open_cellule, read_choice
from tests.keeping.conftest import confirmed_key, new_box
from tests.web.conftest import Site, Visitor, admin, compiled_translations, employee, site

__all__ = ["admin", "compiled_translations", "employee", "site"]
SMB = {
    "kind": "smb",
    "host": "nas.example",
    "share": "backups",
    "folder": "cellule",
    "username": "box",
    "secret": "the password of the NAS",
    "nightly_at": "03:15",
}


@pytest.fixture(autouse=True)
def broker(settings: Settings) -> Iterator[None]:
    """The door to the simulated machine."""
    with Broker(settings.broker_socket, this_machine(settings), settings.wireguard_interface) as broker:
        thread = Thread(target=broker.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield
        broker.shutdown()
        thread.join()


def test_the_page_is_for_admins(site: Site, employee: Visitor) -> None:
    assert employee.get("/backups").status_code == 403
    for path in ("/backups/file", "/backups/key", "/backups/restore/confirm", "/reset"):
        assert employee.post(path).status_code == 403


def test_the_key_is_shown_until_it_is_typed_back(site: Site, admin: Visitor) -> None:
    page = admin.get("/backups").text
    key = backup_key(site.settings)
    assert key and key.text in page and "<svg" in page
    sheet = admin.post("/backups/key/sheet")
    assert key.text in sheet.text and "attachment" in sheet.headers["Content-Disposition"]
    assert "wrong or missing" in admin.post("/backups/key", {"backup_key": key.text[:-1] + "-"}).text
    assert admin.post("/backups/file").status_code == 409
    assert admin.post("/backups/key", {"backup_key": key.text.lower()}).status_code == 303
    page = admin.get("/backups").text
    assert key.text not in page and key.fingerprint in page


def test_a_target_is_kept_with_its_password_apart(site: Site, admin: Visitor) -> None:
    confirmed_key(site.settings)
    assert admin.post("/backups/target", SMB).status_code == 303
    choice = read_choice(site.db, BackupChoice)
    assert choice.target and choice.target.host == "nas.example" and choice.nightly_at == "03:15"
    assert target_secret(site.settings) == SMB["secret"]
    stored = b"".join(path.read_bytes() for path in site.settings.state_dir.glob("*.db*"))
    assert SMB["secret"].encode() not in stored
    page = admin.get("/backups").text
    assert SMB["secret"] not in page and "nas.example" in page
    assert "opened for nas.example, port 445, before the box connects" in page
    admin.post("/backups/target", SMB | {"secret": "", "share": "other"})
    assert target_secret(site.settings) == SMB["secret"], "left empty, it stays"
    assert audit_lines(site.activity)[0].event == "admin:backup:changed"
    admin.post("/backups/target/none")
    assert read_choice(site.db, BackupChoice).target is None
    assert target_secret(site.settings) == ""


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"host": ""}, "host"),
        ({"host": "nas;reboot"}, "host"),
        ({"host": "-oProxyCommand=x"}, "host"),
        ({"share": "a,uid=0"}, "share"),
        ({"share": "../etc"}, "share"),
        ({"folder": "../up"}, "folder"),
        ({"folder": "-x"}, "folder"),
        ({"username": "a,sec=none"}, "username"),
        ({"secret": ""}, "secret"),
        ({"kind": "nfs", "export": "relative"}, "export"),
        ({"kind": "nfs", "export": "/a/../b"}, "export"),
        ({"kind": "sftp", "port": "99999"}, "port"),
        ({"kind": "s3", "endpoint": "ftp://x", "bucket": "b" * 5, "access_key_id": "A"}, "endpoint"),
        ({"kind": "s3", "endpoint": "https://x", "bucket": "No", "access_key_id": "A"}, "bucket"),
    ],
)
def test_what_was_typed_wrong_is_told_at_its_field_and_kept(
    site: Site, admin: Visitor, changes: dict[str, str], field: str
) -> None:
    confirmed_key(site.settings)
    answer = admin.post("/backups/target", SMB | changes)
    assert answer.status_code == 400
    assert f'id="target-{field}-hint"' in answer.text or f'id="target-{field}"' in answer.text
    assert 'class="error"' in answer.text
    assert read_choice(site.db, BackupChoice).target is None
    assert SMB["secret"] not in answer.text


def test_an_s3_address_is_taken_apart(site: Site, admin: Visitor) -> None:
    confirmed_key(site.settings)
    form = {"kind": "s3", "endpoint": "http://10.0.0.9:9000", "bucket": "office", "access_key_id": "AK"}
    assert admin.post("/backups/target", SMB | form).status_code == 303
    target = read_choice(site.db, BackupChoice).target
    assert target and target.kind is TargetKind.S3
    assert (target.host, target.port, target.tls, target.bucket) == ("10.0.0.9", 9000, False, "office")
    assert 'value="http://10.0.0.9:9000"' in admin.get("/backups?kind=s3").text


def test_an_sftp_server_is_confirmed_by_its_key(site: Site, admin: Visitor) -> None:
    confirmed_key(site.settings)
    assert "ssh-ed25519 " in admin.get("/backups?kind=sftp").text
    form = {"kind": "sftp", "host": "nas.example", "port": "22", "username": "box", "folder": "f"}
    admin.post("/backups/target", SMB | form)
    shown = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="
    site.activity.execute(
        "INSERT INTO keeping_runs (work, started_at, ended_at, step, detail)"
        " VALUES ('test', 9e9, 9e9, 'connect', ?)",
        [shown],
    )
    page = admin.get("/backups").text
    assert "Is this your server?" in page and "SHA256:" in page
    assert admin.post("/backups/server-key", {"host_key": "ssh-ed25519 AAAA"}).status_code == 409
    assert admin.post("/backups/server-key", {"host_key": shown}).status_code == 303
    target = read_choice(site.db, BackupChoice).target
    assert isinstance(target, SftpTarget) and target.host_key == shown
    admin.post("/backups/target", SMB | form | {"username": "other"})
    target = read_choice(site.db, BackupChoice).target
    assert isinstance(target, SftpTarget) and target.host_key == shown
    admin.post("/backups/target", SMB | form | {"host": "other.example"})
    target = read_choice(site.db, BackupChoice).target
    assert isinstance(target, SftpTarget) and target.host_key == "", "another server proves itself anew"


def downloaded(site: Site, admin: Visitor) -> bytes:
    admin.get("/backups")
    answer = admin.client.post("/backups/file", data={"csrf_token": admin.token})
    assert answer.status_code == 200
    assert re.search(r"cellule-backup-.*-[0-9a-f]{8}\.age", answer.headers["Content-Disposition"])
    return bytes(answer.data)


def uploaded(content: bytes, **fields: str) -> dict[str, object]:
    return {"file": (io.BytesIO(content), "backup.age"), **fields}


def test_a_file_goes_out_comes_back_and_is_swapped_in(site: Site, admin: Visitor) -> None:
    key = confirmed_key(site.settings)
    content = downloaded(site, admin)
    assert b"ana" not in content
    site.account("eve", Role.USER)
    wrong = admin.post("/backups/restore/file", uploaded(content, backup_key="nonsense"))
    assert wrong.status_code == 400 and "wrong or missing" in wrong.text
    broken = admin.post("/backups/restore/file", uploaded(content[:-9], backup_key=key.text))
    assert "cut short or altered" in broken.text
    assert admin.post("/backups/restore/file", uploaded(content, backup_key=key.text)).status_code == 303
    page = admin.get("/backups/restore").text
    assert "RESTORE" in page and "Accounts" in page
    assert admin.post("/backups/restore/confirm", {"confirmation": "yes"}).status_code == 400
    assert admin.post("/backups/restore/confirm", {"confirmation": "restore"}).status_code == 303
    restore = last_restore(site.settings)
    assert restore and restore.asked_by == "ana"
    apply_pending_restore(site.settings)
    finish_restore(site.settings, this_machine(site.settings))
    fresh = site.visitor()
    assert fresh.get("/backups").status_code == 303, "everybody signs in anew"
    with open_cellule(site.settings.state_dir) as db:
        assert "eve" not in {account.name for account in list_accounts(db)}


def test_an_upload_needs_the_form_s_token(site: Site, admin: Visitor) -> None:
    key = confirmed_key(site.settings)
    content = downloaded(site, admin)
    for token in ("", "forged"):
        answer = admin.client.post(
            "/backups/restore/file", data=uploaded(content, backup_key=key.text, csrf_token=token)
        )
        assert answer.status_code == 400
    assert last_restore(site.settings) is None


def test_a_blank_box_is_restored_by_who_stands_at_it(
    site: Site, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = new_box(tmp_path_factory.mktemp("old") / "box")
    with open_cellule(old.state_dir) as db:
        create_account(db, "olga", "correct horse battery", Role.ADMIN, "en")
    key = confirmed_key(old)
    content = pack_box(old, this_machine(old)).content.read()
    visitor = site.visitor()
    assert 'href="/restore"' in visitor.get("/claim").text
    visitor.get("/restore")
    refused = visitor.post("/restore", uploaded(content, backup_key=key.text, code="0000-0000-0000-0000"))
    assert refused.status_code == 403 and last_restore(settings) is None
    answer = visitor.post("/restore", uploaded(content, backup_key=key.text, code=site.claim_code))
    assert answer.status_code == 200 and "The backup is whole" in answer.text
    apply_pending_restore(settings)
    with open_cellule(settings.state_dir) as db:
        assert [account.name for account in list_accounts(db)] == ["olga"]


def test_a_claimed_box_offers_no_restore_to_visitors(site: Site, admin: Visitor) -> None:
    assert site.visitor().get("/restore").status_code == 303
    assert site.visitor().post("/restore", uploaded(b"x")).status_code == 303


def test_the_state_is_told_first_and_turns_red(site: Site, admin: Visitor) -> None:
    confirmed_key(site.settings)
    admin.post("/backups/target", SMB)
    keep(site.settings, this_machine(site.settings))
    page = admin.get("/backups").text
    assert "The share, bucket or folder can&#39;t be used" in page
    site.db.execute(
        "UPDATE choices SET value = json_set(value, '$.chosen_at', 1) WHERE subject = 'backup_choice'"
    )
    assert "tile--bad" in admin.get("/backups").text
    state = admin.get("/backups.json").json
    assert state and state["version"]


def test_a_reset_is_typed_and_leaves_a_line(site: Site, admin: Visitor) -> None:
    assert admin.post("/reset", {"confirmation": "yes"}).status_code == 400
    assert "begun" not in {line.detail for line in audit_lines(site.activity)}
    answer = admin.post("/reset", {"confirmation": "erase"})
    assert answer.status_code == 200 and "erases itself" in answer.text
    [line] = [line for line in audit_lines(site.activity) if line.event == "admin:box:reset"]
    assert line.actor == "ana"
