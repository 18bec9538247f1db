"""From a running box to a file to a blank box: people, keys and identity are back, and nothing in between."""

import io
import os
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from appliance.claim import ensure_claim_code, is_claimed
from appliance.claim.preparing import prepare_box
from appliance.errors import Refusal
from appliance.host import this_machine
from appliance.keeping import restoring
from appliance.keeping.archive import read_archive, write_archive
from appliance.keeping.identity import read_identity
from appliance.keeping.key import BackupKey, WrongBackupKey, backup_recipient, make_backup_key
from appliance.keeping.nightly import finish_restore
from appliance.keeping.places import NotEnoughSpace, at_work, empty_folder
from appliance.keeping.restoring import (
    NothingToRestore,
    RestoreStep,
    apply_pending_restore,
    confirm_restore,
    discard_restore,
    forget_former,
    last_restore,
    stage_archive,
    undo_restore,
)
from appliance.keeping.snapshot import (
    BackupDamaged,
    BackupTooNew,
    DatabaseDamaged,
    Manifest,
    check_snapshot,
    take_snapshot,
)
from appliance.people import audit_lines
from appliance.settings import Settings
from appliance.storage import SchemaTooNew, open_activity, open_cellule
from tests.accounting.ledger import add_line
from tests.keeping.conftest import facts_of

DAY = 24 * 3600.0


def packed(settings: Settings, *, at: float = 1_000_000.0) -> bytes:
    """The box's backup as one file."""
    folder = empty_folder(settings, "snapshot")
    recipient = backup_recipient(settings)
    take_snapshot(
        settings, folder, from_host=read_identity(this_machine(settings), recipient), clock=lambda: at
    )
    target = settings.state_dir / "backup.age"
    target.unlink(missing_ok=True)
    write_archive(folder, target, recipient)
    return target.read_bytes()


def stage(settings: Settings, archive: bytes, key: BackupKey) -> restoring.Restore:
    return stage_archive(settings, io.BytesIO(archive), key, source="a file")


def repacked(box: Settings, change: Callable[[Path], None]) -> bytes:
    """A backup that somebody with the key has changed."""
    folder = empty_folder(box, "snapshot")
    take_snapshot(box, folder)
    change(folder)
    target = box.state_dir / "changed.age"
    target.unlink(missing_ok=True)
    write_archive(folder, target, backup_recipient(box))
    return target.read_bytes()


def test_a_blank_box_becomes_the_same_box(box: Settings, key: BackupKey, blank: Settings) -> None:
    before, fresh = facts_of(box), facts_of(blank)
    assert before.tls_key != fresh.tls_key
    restore = stage(blank, packed(box), key)
    assert (restore.manifest.accounts, restore.manifest.api_keys, restore.manifest.workers) == (2, 1, 0)
    assert facts_of(blank) == fresh, "checking changes nothing"
    assert apply_pending_restore(blank) is None, "only what was confirmed is swapped in"
    confirm_restore(blank, asked_by="ana")
    assert facts_of(blank) == fresh, "the swap waits for the next start"
    done = apply_pending_restore(blank)
    assert done and done.step is RestoreStep.DONE
    finish_restore(blank, this_machine(blank))
    assert facts_of(blank) == before
    assert not (blank.state_dir / "keeping" / "incoming").exists()
    assert backup_recipient(blank) == key.recipient
    with open_cellule(blank.state_dir) as db, open_activity(blank.state_dir) as activity:
        assert is_claimed(db)
        assert db.execute("SELECT count(*) FROM sessions").fetchone()[0] == 0
        assert audit_lines(activity)[0].event == "admin:backup:restored"
    assert ensure_claim_code(blank) is None
    assert apply_pending_restore(blank) is None


def test_the_backup_has_what_is_still_in_the_write_ahead_log(
    box: Settings, key: BackupKey, blank: Settings
) -> None:
    with open_activity(box.state_dir) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("BEGIN IMMEDIATE")
        archive_while_writing = packed(box)
        writer.execute("COMMIT")
        add_line(writer, 0.0)
        archive = packed(box)
    for sent, lines in ((archive_while_writing, 20), (archive, 21)):
        stage(blank, sent, key)
        confirm_restore(blank, asked_by="")
        apply_pending_restore(blank)
        assert facts_of(blank).ledger_lines == lines


def test_what_a_backup_leaves_out(box: Settings, key: BackupKey) -> None:
    folder = empty_folder(box, "snapshot")
    manifest = take_snapshot(box, folder, from_host=read_identity(this_machine(box), key.recipient))
    paths = {file.path for file in manifest.files}
    secrets = {f"secrets/{name}" for name in ("tls.key", "tls.crt", "backup-password", "backup-recipient")}
    assert paths >= {"cellule.db", "activity.db", "wireguard.key.age", "machine.json"} | secrets
    left_out = {"claim-code", "backup-key", "wireguard.key"}
    assert not {Path(path).name for path in paths} & left_out
    private = (box.secrets_dir / "wireguard.key").read_bytes().strip()
    assert all(private not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert all(key.text.encode() not in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_file_is_nothing_without_the_key(box: Settings, key: BackupKey, blank: Settings) -> None:
    archive, fresh = packed(box), facts_of(blank)
    for secret in (b"ana", b"PRIVATE KEY", b"SQLite format"):
        assert secret not in archive
    with pytest.raises(WrongBackupKey, match="another backup key"):
        stage(blank, archive, make_backup_key())
    assert facts_of(blank) == fresh
    assert last_restore(blank) is None


def test_the_file_opens_with_age_and_tar_alone(box: Settings, key: BackupKey) -> None:
    [identity] = [line for line in key.sheet().splitlines() if not line.startswith("#")]
    plain = pyrage.decrypt(packed(box), [pyrage.x25519.Identity.from_str(identity)])
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:gz") as tar:
        assert "./cellule.db" in tar.getnames()


@pytest.mark.parametrize("at", [0, 50, 300, 70_000, -1])
def test_a_flipped_bit_anywhere_is_refused(box: Settings, key: BackupKey, blank: Settings, at: int) -> None:
    archive, fresh = bytearray(packed(box)), facts_of(blank)
    archive[at % len(archive)] ^= 1
    with pytest.raises((BackupDamaged, WrongBackupKey)):
        stage(blank, bytes(archive), key)
    assert facts_of(blank) == fresh


@pytest.mark.parametrize("length", [0, 1, 200, 1000])
def test_a_file_that_was_cut_short_is_refused(
    box: Settings, key: BackupKey, blank: Settings, length: int
) -> None:
    archive = packed(box)
    for cut in (archive[:length], archive[: len(archive) - length - 1]):
        with pytest.raises(BackupDamaged):
            stage(blank, cut, key)


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def other_content(folder: Path) -> None:
    (folder / "secrets" / "tls.crt").write_text("changed")


def one_file_more(folder: Path) -> None:
    (folder / "secrets" / "extra").write_text("x")


def no_database(folder: Path) -> None:
    (folder / "activity.db").unlink()


def rewrite_manifest(folder: Path, **changes: object) -> None:
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(manifest.model_copy(update=changes).model_dump_json())


def fewer_accounts(folder: Path) -> None:
    rewrite_manifest(folder, accounts=7)


@pytest.mark.parametrize("change", [no_manifest, other_content, one_file_more, no_database, fewer_accounts])
def test_what_is_not_as_it_was_packed_is_refused(
    box: Settings, key: BackupKey, blank: Settings, change: Callable[[Path], None]
) -> None:
    fresh = facts_of(blank)
    with pytest.raises(BackupDamaged):
        stage(blank, repacked(box, change), key)
    assert facts_of(blank) == fresh
    assert last_restore(blank) is None


def test_a_backup_of_a_newer_version_is_refused_with_what_to_do(
    box: Settings, key: BackupKey, blank: Settings
) -> None:
    with pytest.raises(BackupTooNew, match="Update this box first"):
        stage(blank, repacked(box, lambda folder: rewrite_manifest(folder, format=2)), key)
    with open_cellule(box.state_dir) as db:
        db.execute("INSERT INTO migrations (name, applied_at) VALUES ('9999_from_tomorrow', 0)")
    with pytest.raises(SchemaTooNew, match="newer version"):
        stage(blank, packed(box), key)


def test_a_stranger_s_archive_stays_in_its_folder(box: Settings, key: BackupKey, tmp_path: Path) -> None:
    for name, kind in (
        ("../escaped", tarfile.REGTYPE),
        ("/tmp/escaped", tarfile.REGTYPE),
        ("secrets/link", tarfile.SYMTYPE),
        ("a/../../escaped", tarfile.REGTYPE),
        (".hidden", tarfile.REGTYPE),
    ):
        plain, sealed = io.BytesIO(), io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w:gz") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(b""))
        plain.seek(0)
        pyrage.encrypt_io(plain, sealed, [key.identity.to_public()])
        sealed.seek(0)
        with pytest.raises(BackupDamaged, match="holds what no backup holds"):
            read_archive(sealed, empty_folder(box, "scratch"), key)
    assert not (tmp_path / "escaped").exists()


class PowerCut(BaseException):
    """Nothing of the process runs on."""


def test_a_power_cut_anywhere_in_the_swap_loses_nothing(
    box: Settings, key: BackupKey, blank: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts before the 1st, 2nd, … move of the swap, and of the way back, until one goes through whole."""
    archive, before, fresh = packed(box), facts_of(box), facts_of(blank)
    moves = {"left": 0}
    for name in ("rename", "replace"):
        move = getattr(Path, name)

        def cut(path: Path, target: Path, move: Callable[[Path, Path], Path] = move) -> Path:
            moves["left"] -= 1
            if moves["left"] == 0:
                raise PowerCut
            return move(path, target)

        monkeypatch.setattr(Path, name, cut)

    def start_with_cuts(allowed: int) -> bool:
        """Whether the cut came; the start after it is undisturbed."""
        moves["left"] = allowed
        try:
            apply_pending_restore(blank)
        except PowerCut:
            moves["left"] = 0
            apply_pending_restore(blank)
            return True
        finally:
            moves["left"] = 0
            finish_restore(blank, this_machine(blank))
        return False

    allowed, there, back = 1, True, True
    while there or back:
        stage(blank, archive, key)
        confirm_restore(blank, asked_by="ana")
        there = start_with_cuts(allowed)
        assert facts_of(blank) == before, f"cut before move {allowed}"
        undo_restore(blank, asked_by="ana")
        back = start_with_cuts(allowed)
        assert facts_of(blank) == fresh, f"cut before move {allowed} of the way back"
        allowed += 1
    assert allowed > 10


def test_a_restored_box_that_can_t_be_opened_is_swapped_back(
    box: Settings, key: BackupKey, blank: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = facts_of(blank)
    stage(blank, packed(box), key)
    confirm_restore(blank, asked_by="ana")
    (blank.state_dir / "keeping" / "incoming" / "activity.db").write_bytes(b"SQLite format 3\0" + bytes(4000))
    returned = apply_pending_restore(blank)
    assert returned and returned.step is RestoreStep.RETURNED
    assert returned.trouble
    assert facts_of(blank) == fresh


def test_the_way_back_ends_after_a_week(box: Settings, key: BackupKey, blank: Settings) -> None:
    stage(blank, packed(box), key)
    confirm_restore(blank, asked_by="ana")
    apply_pending_restore(blank, clock=lambda: 0.0)
    assert not forget_former(blank, clock=lambda: 6.9 * DAY)
    assert (blank.state_dir / "keeping" / "former").exists()
    assert forget_former(blank, clock=lambda: 7 * DAY)
    assert not (blank.state_dir / "keeping" / "former").exists()
    with pytest.raises(NothingToRestore):
        undo_restore(blank, asked_by="ana")


def test_two_admins_restore_once(box: Settings, key: BackupKey, blank: Settings) -> None:
    stage(blank, packed(box), key)
    confirm_restore(blank, asked_by="ana")
    for again in (
        lambda: confirm_restore(blank, asked_by="bob"),
        lambda: stage(blank, packed(box), key),
        lambda: discard_restore(blank),
    ):
        with pytest.raises(Refusal):
            again()
    restore = last_restore(blank)
    assert restore and restore.asked_by == "ana"


def test_a_busy_box_says_so(box: Settings, key: BackupKey) -> None:
    with at_work(box), pytest.raises(Refusal, match="running"):
        stage(box, b"", key)


def test_a_full_disk_refuses_before_anything_is_written(
    box: Settings, key: BackupKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(box)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10 * 2**20})())
    folder = empty_folder(box, "snapshot")
    for work in (lambda: take_snapshot(box, folder), lambda: stage(box, archive, key)):
        with pytest.raises(NotEnoughSpace, match="Nothing was changed"):
            work()
    assert list(folder.iterdir()) == []
    assert last_restore(box) is None


@pytest.mark.usefixtures("key")
def test_a_damaged_database_is_not_backed_up(box: Settings) -> None:
    path = box.state_dir / "activity.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(4096 * 3))
    with pytest.raises(DatabaseDamaged, match=r"activity\.db is damaged"):
        take_snapshot(box, empty_folder(box, "snapshot"))


@pytest.mark.usefixtures("key")
def test_a_snapshot_is_checked_as_it_was_taken(box: Settings) -> None:
    folder = empty_folder(box, "snapshot")
    assert take_snapshot(box, folder) == check_snapshot(folder)


def test_the_start_of_the_box_swaps_it_in(box: Settings, key: BackupKey, blank: Settings) -> None:
    before = facts_of(box)
    stage(blank, packed(box), key)
    confirm_restore(blank, asked_by="ana")
    assert prepare_box(blank) is None, "a box with its admin back has no claim code"
    assert facts_of(blank).names == before.names
    assert prepare_box(blank) is None
