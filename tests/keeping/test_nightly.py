"""Nights, drills and restores with the real restic on a share that the simulated host mounts."""

import json
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.host import Host, HostUnavailable, MachinePlan, Outbound, this_machine
from appliance.host.simulated import SimulatedHost
from appliance.keeping.history import Run, Work, last_run
from appliance.keeping.key import (
    BackupKey,
    adopt_backup_key,
    backup_recipient,
    confirm_backup_key,
    give_backup_key,
    make_backup_key,
    offer_new_backup_key,
)
from appliance.keeping.nightly import finish_restore, keep, known_snapshots
from appliance.keeping.places import keeping_dir
from appliance.keeping.restic import Repository, Restic
from appliance.keeping.restoring import RestoreStep, apply_pending_restore, confirm_restore, last_restore
from appliance.keeping.targets import (
    BackupChoice,
    KeepingRequests,
    SftpTarget,
    SmbTarget,
    Target,
    keep_target_secret,
)
from appliance.keeping.troubles import TargetStalled
from appliance.people import Role, create_account
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, write_choice
from tests.keeping.conftest import PASSWORD, confirmed_key, facts_of
from tests.waiting import wait_until

DAY = 24 * 3600.0
START = 1_700_000_000.0
NAS = SmbTarget(host="nas.example", share="backups", username="cellule")


@dataclass
class Nights:
    """A box that backs up, in a time of its own."""

    settings: Settings
    host: Host
    share: Path
    now: float = START

    def choose(self, target: Target) -> None:
        with open_cellule(self.settings.state_dir) as db:
            write_choice(db, BackupChoice(target=target, chosen_at=self.now), chosen_by=None)

    def wish(self, **wishes: object) -> None:
        with open_cellule(self.settings.state_dir) as db:
            write_choice(db, KeepingRequests.model_validate(wishes), chosen_by=None)

    def tick(self) -> str:
        self.now += 1
        return keep(self.settings, self.host, clock=lambda: self.now)

    def settle(self) -> list[str]:
        """Until nothing is due."""
        said: list[str] = []
        while (word := self.tick()) and len(said) < 10:
            said.append(word)
        return said

    def last(self, work: Work) -> Run:
        with open_activity(self.settings.state_dir) as activity:
            found = last_run(activity, work)
        assert found
        return found


def nights(settings: Settings) -> Nights:
    share = settings.host_dir / "nas" / NAS.host / NAS.share
    share.mkdir(parents=True)
    return Nights(settings, this_machine(settings), share)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[BackupKey, Path]:
    """A repository and its key, made once: restic takes its time to choose how slow a key shall be."""
    folder = tmp_path_factory.mktemp("opened")
    settings, key = Settings(state_dir=folder), make_backup_key()
    adopt_backup_key(settings, key)
    Restic(settings, Repository(str(folder / "cellule"))).open(make=True)
    return key, folder / "cellule"


@pytest.fixture
def key(box: Settings, opened: tuple[BackupKey, Path]) -> BackupKey:
    adopt_backup_key(box, opened[0])
    return opened[0]


@pytest.fixture
def backing_up(box: Settings, key: BackupKey, opened: tuple[BackupKey, Path]) -> Nights:
    """Its target is an empty repository, but for the first test."""
    assert backup_recipient(box) == key.recipient
    keep_target_secret(box, "the password of the NAS")
    started = nights(box)
    shutil.copytree(opened[1], started.share / "cellule")
    started.choose(NAS)
    return started


def test_the_first_night_its_drill_and_a_quiet_day(backing_up: Nights) -> None:
    shutil.rmtree(backing_up.share / "cellule")
    assert backing_up.settle() == ["backup: done", "drill: done"]
    backup, drill = backing_up.last(Work.BACKUP), backing_up.last(Work.DRILL)
    assert backup.succeeded and backup.size_bytes > 100_000 and backup.added_bytes > 10_000
    assert json.loads(drill.detail)["accounts"] == 2
    [snapshot] = known_snapshots(backing_up.settings)
    assert snapshot.id.startswith(backup.detail) and abs(snapshot.at - START) < 60
    assert not (keeping_dir(backing_up.settings) / "scratch").exists()
    assert not (keeping_dir(backing_up.settings) / "snapshot").exists()
    backing_up.now += DAY
    assert backing_up.settle() == ["backup: done"]
    assert backing_up.last(Work.BACKUP).added_bytes < backup.added_bytes / 2, (
        "what is the same is there already"
    )
    assert len(known_snapshots(backing_up.settings)) == 2


def test_what_lies_on_the_nas_tells_nothing(backing_up: Nights, key: BackupKey) -> None:
    backing_up.tick()
    stored = [path.read_bytes() for path in backing_up.share.rglob("*") if path.is_file()]
    assert len(stored) >= 5
    for secret in (b"ana", b"SQLite format", b"PRIVATE KEY", key.password.encode(), b"the password of"):
        assert not any(secret in content for content in stored)


@pytest.mark.slow
def test_restic_alone_opens_it_with_what_the_sheet_says(
    backing_up: Nights, key: BackupKey, tmp_path: Path
) -> None:
    backing_up.tick()
    repository = str(backing_up.share / "cellule")
    password = next(
        line.strip("# ") for line in key.sheet().splitlines() if line.startswith("#   ") and len(line) == 68
    )
    done = subprocess.run(
        ["restic", "-r", repository, "--no-cache", "restore", "latest", "--target", str(tmp_path / "out")],
        env={"RESTIC_PASSWORD": password, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [database] = (tmp_path / "out").rglob("cellule.db")
    with sqlite3.connect(database) as db:
        assert db.execute("SELECT count(*) FROM accounts").fetchone()[0] == 2


def test_nothing_runs_before_somebody_has_the_key(box: Settings) -> None:
    unready = nights(box)
    unready.choose(NAS)
    assert unready.tick() == ""
    assert not any(unready.share.iterdir())


@pytest.mark.slow
def test_a_box_goes_back_to_an_earlier_night(backing_up: Nights) -> None:
    box = backing_up.settings
    backing_up.settle()
    before = facts_of(box)
    with open_cellule(box.state_dir) as db:
        create_account(db, "eve", PASSWORD, Role.ADMIN, "en")
    backing_up.wish(check_at=backing_up.now, check_snapshot=known_snapshots(box)[0].id)
    assert backing_up.tick() == "check: done"
    staged = last_restore(box)
    assert staged and staged.step is RestoreStep.STAGED and staged.manifest.accounts == 2
    assert facts_of(box) != before
    confirm_restore(box, asked_by="ana")
    apply_pending_restore(box)
    finish_restore(box, backing_up.host)
    assert facts_of(box) == before


def test_a_blank_box_takes_over_from_the_nas(backing_up: Nights, blank: Settings, key: BackupKey) -> None:
    backing_up.settle()
    before = facts_of(backing_up.settings)
    there = nights(blank)
    shutil.rmtree(there.share)
    shutil.copytree(backing_up.share, there.share)
    give_backup_key(blank, key)
    there.choose(NAS)
    there.wish(test_at=there.now)
    assert there.tick() == "test: done"
    there.wish(test_at=there.now - 9, check_at=there.now, check_snapshot=known_snapshots(blank)[0].id)
    assert there.tick() == "check: done"
    confirm_restore(blank, asked_by="ana")
    apply_pending_restore(blank)
    finish_restore(blank, there.host)
    assert facts_of(blank) == before
    assert not any("backup-key" in path.name for path in blank.secrets_dir.iterdir())


@pytest.mark.slow
def test_a_changed_key_reaches_the_nas_with_the_next_backup(backing_up: Nights) -> None:
    box = backing_up.settings
    backing_up.tick()
    second = offer_new_backup_key(box)
    confirm_backup_key(box, second.text)
    backing_up.wish(backup_at=backing_up.now + 0.5)
    assert backing_up.tick() == "backup: done"
    assert backup_recipient(box) == second.recipient
    assert not (box.secrets_dir / "backup-password.former").exists()
    repository = Restic(box, Repository(str(backing_up.share / "cellule")))
    repository.open(make=False)
    assert len(list((backing_up.share / "cellule" / "keys").iterdir())) == 1
    assert repository.snapshots(), "of one day the newest is kept"


@pytest.mark.slow
def test_a_folder_of_another_box_is_left_alone(backing_up: Nights, blank: Settings) -> None:
    backing_up.tick()
    confirmed_key(blank)
    other = nights(blank)
    shutil.rmtree(other.share)
    shutil.copytree(backing_up.share, other.share)
    kept = sorted(path.name for path in other.share.rglob("*"))
    other.choose(NAS)
    assert "encrypted with another backup key" in other.tick()
    assert other.last(Work.BACKUP).code == "wrong_backup_key"
    assert sorted(path.name for path in other.share.rglob("*")) == kept


def test_a_share_that_is_not_there_is_told_and_tried_again(backing_up: Nights) -> None:
    shutil.rmtree(backing_up.share)
    assert "can't be used" in backing_up.tick()
    assert backing_up.last(Work.BACKUP).code == "backup_target_folder"
    assert backing_up.tick() == "", "not at once"
    backing_up.share.mkdir(parents=True)
    backing_up.now += 3600
    assert backing_up.tick() == "backup: done"


@pytest.mark.slow
def test_a_drill_finds_a_backup_that_rotted(backing_up: Nights) -> None:
    backing_up.settle()
    for pack in (backing_up.share / "cellule" / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            content = bytearray(pack.read_bytes())
            content[len(content) // 3] ^= 0xFF
            pack.write_bytes(content)
    backing_up.wish(drill_at=backing_up.now)
    assert backing_up.tick() != "drill: done"
    assert not backing_up.last(Work.DRILL).succeeded


def test_a_backup_that_was_cut_off_holds_up_nothing(backing_up: Nights) -> None:
    box = backing_up.settings
    backing_up.tick()
    # what a killed run leaves: a lock of this machine in the repository, and a line without an end
    repository = backing_up.share / "cellule"
    held = subprocess.Popen(
        ["restic", "-r", str(repository), "--no-cache", "backup", "--stdin"],
        env={"RESTIC_PASSWORD_FILE": str(box.secrets_dir / "backup-password"), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: any((repository / "locks").iterdir()), within_seconds=20, what="restic's lock")
    held.kill()
    held.wait()
    with open_activity(box.state_dir) as activity:
        activity.execute(
            "INSERT INTO keeping_runs (work, started_at, step) VALUES ('backup', ?, 'store')",
            [backing_up.now],
        )
    backing_up.wish(backup_at=backing_up.now + 0.5)
    assert backing_up.tick() == "backup: done"
    assert not any((repository / "locks").iterdir())
    with open_activity(box.state_dir) as activity:
        codes = [row[0] for row in activity.execute("SELECT code FROM keeping_runs ORDER BY id")]
    assert codes == ["", "interrupted", ""]


@pytest.mark.usefixtures("key")
def test_a_target_that_moves_nothing_is_given_up(
    box: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a program that hangs in the kernel: nothing comes, nothing ends."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "restic").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "bin" / "restic").chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    stuck = Restic(box, Repository("x"), stall_seconds=1)
    began = time.monotonic()
    with pytest.raises(TargetStalled, match="moved nothing for 1 s"):
        stuck.store(folder, box="box", at=START, progress=lambda _: None)
    assert time.monotonic() - began < 10


def test_without_its_broker_a_box_makes_no_backup_that_lacks_its_identity(backing_up: Nights) -> None:
    class Away:
        def __getattr__(self, _: str) -> object:
            raise HostUnavailable("The host broker does not answer.", retry_after_seconds=2)

    backing_up.host = Away()  # type: ignore[assignment]
    assert "does not answer" in backing_up.tick()
    assert not any((backing_up.share / "cellule" / "snapshots").iterdir())


@pytest.mark.slow
def test_thirty_days_are_kept(backing_up: Nights) -> None:
    restic = Restic(backing_up.settings, Repository(str(backing_up.share / "cellule")))
    folder = keeping_dir(backing_up.settings) / "snapshot"
    folder.mkdir()
    for day in range(33):
        (folder / "manifest.json").write_text(str(day))
        restic.store(folder, box="box", at=START + day * DAY, progress=lambda _: None)
    restic.store(folder, box="renamed", at=START + 32 * DAY + 3600, progress=lambda _: None)
    restic.forget_old()
    kept = restic.snapshots()
    assert len(kept) == 30
    assert kept[0].at == START + 32 * DAY + 3600
    assert kept[-1].at == START + 3 * DAY


def test_the_firewall_lets_the_box_call_the_target_and_nothing_else(box: Settings) -> None:
    host = SimulatedHost(box.wireguard_key_path, box.host_dir)
    others = Outbound(host="up.example.org", port=443, why="updates")
    host.apply_machine(MachinePlan(outbound=(others,)))
    for target, wanted in (
        (SftpTarget(host="nas.example", port=2222, username="box"), [("nas.example", 2222)]),
        (SmbTarget(host="other.example", share="backups", username="box"), [("other.example", 445)]),
        (None, []),
    ):
        with open_cellule(box.state_dir) as db:
            write_choice(db, BackupChoice(target=target), chosen_by=None)
        keep(box, host)
        _, *found = host.machine_plan().outbound
        assert [(each.host, each.port) for each in found] == wanted
        assert host.machine_plan().outbound[0] == others
