"""Storage that is missing, damaged, too new or full: found, named, and never written over."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from appliance.boot import storage_check
from appliance.boot.failure import CheckFailed, Fault
from appliance.boot.storage_check import check_storage
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule

LOOK = """
import sys
from pathlib import Path
from appliance.boot.storage_check import check_storage
from appliance.storage import open_cellule
state = Path(sys.argv[1])
print(check_storage(state))
db = open_cellule(state)
print({path.name: path.stat().st_uid for path in sorted(state.glob("*.db*"))})
"""


@pytest.fixture
def state(settings: Settings) -> Path:
    for opened in (open_cellule, open_activity):
        opened(settings.state_dir).close()
    return settings.state_dir


def failure(state: Path) -> CheckFailed:
    with pytest.raises(CheckFailed) as failed:
        check_storage(state)
    return failed.value


def fill(path: Path) -> None:
    """Some pages of sessions, in the file itself."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.executemany(
            "INSERT INTO sessions VALUES (?, 'nobody', 1.0, 2.0)", [(f"{n:064}",) for n in range(2000)]
        )
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_whole_files_pass(state: Path) -> None:
    assert check_storage(state) == "Storage opens, is whole and migrated."


@pytest.mark.parametrize("name", ["cellule.db", "activity.db"])
def test_a_missing_file_is_not_made_anew(state: Path, name: str) -> None:
    (state / name).unlink()
    failed = failure(state)
    assert name in failed.sentence and failed.fault is Fault.RELEASE
    assert not (state / name).exists()


@pytest.mark.parametrize("name", ["cellule.db", "activity.db"])
def test_what_is_no_database_is_named_and_left_as_it_is(state: Path, name: str) -> None:
    for leftover in state.glob(f"{name}-*"):
        leftover.unlink()
    rubbish = b"this was a database once" * 400
    (state / name).write_bytes(rubbish)
    failed = failure(state)
    assert failed.fault is Fault.DATA and failed.is_final
    assert name in failed.sentence and "damaged" in failed.sentence and "backup" in failed.next_step
    assert (state / name).read_bytes() == rubbish


def test_a_damaged_page_deep_inside_is_found(state: Path) -> None:
    path = state / "cellule.db"
    fill(path)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2 // 4096 * 4096
    whole[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(whole)
    failed = failure(state)
    assert failed.fault is Fault.DATA and "cellule.db is damaged" in failed.sentence
    assert path.read_bytes() == bytes(whole)


def test_a_file_of_a_newer_version_is_the_release_s_fault(state: Path) -> None:
    with closing(open_cellule(state)) as db:
        db.execute("INSERT INTO migrations (name, applied_at) VALUES ('9999_silent', 1.0)")
    failed = failure(state)
    assert failed.fault is Fault.RELEASE and "newer version" in failed.sentence


def test_a_migration_that_can_not_be_applied_is_the_release_s_fault(state: Path) -> None:
    with closing(sqlite3.connect(state / "cellule.db")) as db:
        db.execute("DELETE FROM migrations WHERE name = '0002_choices'")
        db.commit()
    failed = failure(state)
    assert failed.fault is Fault.RELEASE and "could not be opened by this version" in failed.sentence


def test_a_file_too_large_for_the_time_passes_and_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(state / "cellule.db")
    monkeypatch.setattr(storage_check, "QUICK_CHECK_SECONDS", -1.0)
    monkeypatch.setattr(storage_check, "_STEPS_BETWEEN_LOOKS", 10)
    assert "too large to check whole: cellule.db" in check_storage(state)


@pytest.mark.root
def test_root_without_its_usual_powers_can_look_and_leaves_the_files_to_their_owner(state: Path) -> None:
    for path in (state, *state.glob("*.db*")):
        os.chown(path, 900, 900)
    # the capabilities that cellule-verdict.service leaves it
    few = ["setpriv", "--bounding-set=-all,+dac_override,+chown", "--inh-caps=-all"]
    command = [*few, sys.executable, "-c", LOOK, str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    passed, owners = done.stdout.splitlines()
    assert passed == "Storage opens, is whole and migrated."
    assert owners == str(
        dict.fromkeys(("activity.db", "cellule.db", "cellule.db-shm", "cellule.db-wal"), 900)
    )


@pytest.mark.root
def test_a_full_disk_is_the_data_s_fault_and_loses_nothing(state: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        for name in ("cellule.db", "activity.db"):
            (disk / name).write_bytes((state / name).read_bytes())
        with closing(sqlite3.connect(disk / "cellule.db")) as db:
            # a migration is due, so it must write
            db.execute("DROP TABLE refused_releases")
            db.execute("DELETE FROM migrations WHERE name = '0003_refused_releases'")
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = (disk / "cellule.db").read_bytes()
        with (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096) == 4096:
                pass
    except OSError:
        pass
    try:
        failed = failure(disk)
        assert failed.fault is Fault.DATA and failed.next_step
        assert (disk / "cellule.db").read_bytes() == before
        (disk / "filler").unlink()
        assert check_storage(disk) == "Storage opens, is whole and migrated."
    finally:
        subprocess.run(["umount", str(disk)], check=True)
