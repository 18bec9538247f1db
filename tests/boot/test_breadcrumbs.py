"""Breadcrumbs on a real disk: in order, kept, torn, pruned, and a disk that is full."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.boot.breadcrumbs import BOOTS_KEPT, LONGEST_LOG_CHARACTERS, Outcome, Running, Trail, read_boots

SCRIPT = Path(__file__).parents[2] / "rootfs" / "usr" / "lib" / "cellule" / "breadcrumb"
OWN_BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


def trail(folder: Path, boot_id: str = "abc", version: str = "2.0") -> Trail:
    return Trail(
        folder, Running(version, "b", boot_id), clock=lambda: 1_790_000_000.0, boot_clock=lambda: 7.5
    )


def from_the_shell(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *words],
        env={**os.environ, "BREADCRUMBS": str(folder), "VERSION": "2.0", "SLOT": "b"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_step_is_one_line_with_version_slot_and_times(tmp_path: Path) -> None:
    notes = trail(tmp_path / "boot")
    notes.note("start", Outcome.OK, "Release 2.0.")
    notes.note("pool", Outcome.FAILED, "It's “quiet”.", "line 1\nline 2")
    (boot,) = read_boots(tmp_path / "boot")
    assert (boot.number, boot.boot_id, boot.version, boot.slot) == (1, "abc", "2.0", "b")
    first, second = boot.crumbs
    assert (first.step, first.outcome, first.at, first.boot_seconds) == (
        "start",
        Outcome.OK,
        1_790_000_000,
        7.5,
    )
    assert (second.sentence, second.log) == ("It's “quiet”.", "line 1\nline 2")


def test_shell_and_python_write_into_the_same_file_and_are_read_alike(tmp_path: Path) -> None:
    folder = tmp_path / "boot"
    trail(folder, "earlier", "1.0").note("start", Outcome.OK, "")
    assert from_the_shell(folder, "data", "ok", "Kernel up, data mounted.").returncode == 0
    trail(folder, OWN_BOOT_ID).note("start", Outcome.OK, "Release 2.0.")
    assert from_the_shell(folder, "stopped", "ok", "Stopped.").returncode == 0
    earlier, own = read_boots(folder)
    assert (earlier.number, own.number) == (1, 2)
    assert own.boot_id == OWN_BOOT_ID
    assert [crumb.step for crumb in own.crumbs] == ["data", "start", "stopped"]
    data = own.crumbs[0]
    assert (data.version, data.slot, data.outcome) == ("2.0", "b", Outcome.OK)
    assert data.sentence == "Kernel up, data mounted." and data.at > 1_700_000_000 and data.boot_seconds > 0


def test_the_shell_counts_on_after_a_number_with_an_eight_in_it(tmp_path: Path) -> None:
    # 000018 is no octal number
    (tmp_path / "000018-old.jsonl").touch()
    from_the_shell(tmp_path, "data", "ok", "Kernel up.")
    assert max(boot.number for boot in read_boots(tmp_path)) == 19


def test_what_another_program_said_does_not_break_the_line(tmp_path: Path) -> None:
    from_the_shell(tmp_path, "data", "failed", 'e2fsck: "/dev/x" \\ is\n\tbad & 100 % full')
    (boot,) = read_boots(tmp_path)
    assert boot.crumbs[0].outcome is Outcome.FAILED
    assert boot.crumbs[0].sentence == "e2fsck: '/dev/x' / isbad & 100 % full"


def test_the_shell_says_that_it_can_not_write_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "boot").write_text("a file where a folder should be")
    done = from_the_shell(tmp_path / "boot", "data", "ok", "Kernel up.")
    assert done.returncode == 0 and "could not be written" in done.stderr


def test_the_order_is_that_of_the_boots_whatever_the_clock_says(tmp_path: Path) -> None:
    for name, at in (("z", 1_790_000_000.0), ("a", 12.0), ("m", 1_780_000_000.0)):
        trail(tmp_path, name, version=name).note("start", Outcome.OK, "")
        os.utime(next(tmp_path.glob(f"*-{name}.jsonl")), (at, at))
    assert [boot.version for boot in read_boots(tmp_path)] == ["z", "a", "m"]


def test_the_last_fifty_boots_are_kept(tmp_path: Path) -> None:
    for number in range(BOOTS_KEPT + 5):
        trail(tmp_path, f"boot{number}").note("start", Outcome.OK, "")
    boots = read_boots(tmp_path)
    assert [boot.number for boot in boots] == list(range(6, BOOTS_KEPT + 6))


def test_a_torn_line_is_skipped_and_a_log_is_bounded(tmp_path: Path) -> None:
    trail(tmp_path).note("start", Outcome.OK, "", log="x" * 2 * LONGEST_LOG_CHARACTERS)
    path = next(tmp_path.iterdir())
    with path.open("a") as file:
        file.write('{"step":"storage","outc')
    (boot,) = read_boots(tmp_path)
    assert [crumb.step for crumb in boot.crumbs] == ["start"]
    assert len(boot.crumbs[0].log) == LONGEST_LOG_CHARACTERS


def test_what_is_no_trail_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes-of-somebody.jsonl").write_text("{}")
    (tmp_path / "lost+found").mkdir()
    trail(tmp_path).note("start", Outcome.OK, "")
    assert len(read_boots(tmp_path)) == 1
    assert (tmp_path / "notes-of-somebody.jsonl").exists()
    assert read_boots(tmp_path / "missing") == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.root
def test_a_full_disk_is_told_and_the_boot_goes_on(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = trail(small_disk / "boot")
    notes.note("start", Outcome.OK, "Release 2.0.")
    with (
        (small_disk / "filler").open("wb", buffering=0) as filler,
        pytest.raises(OSError, match="No space left"),
    ):
        while True:
            filler.write(b"x" * 4096)
    crumb = notes.note("answer", Outcome.OK, "An answer.", log="y" * 8000)
    assert crumb.sentence == "An answer."
    assert "No space left" in notes.unwritable
    assert "answer: ok" in capsys.readouterr().err, "the journal has it"
    (small_disk / "filler").unlink()
    notes.note("verdict", Outcome.OK, "Good.")
    assert notes.unwritable == ""
    (boot,) = read_boots(small_disk / "boot")
    assert [crumb.step for crumb in boot.crumbs] == ["start", "verdict"], "and half a line took none with it"
