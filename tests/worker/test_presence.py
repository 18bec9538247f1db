"""Whether somebody works at a PC: sessions as loginctl prints them, keyboards as the kernel lists them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.enrolment.contract import WorkerReport
from appliance.worker.facts import current_load
from appliance.worker.input_activity import InputActivity, people_devices
from appliance.worker.presence import IDLE_AFTER_SECONDS, Presence, read_sessions, somebody_works

FIELDS = (
    "Type",
    "Class",
    "Seat",
    "TTY",
    "Active",
    "Remote",
    "LockedHint",
    "IdleHint",
    "IdleSinceHintMonotonic",
)
GNOME = ("wayland", "user", "seat0", "tty2", "yes", "no", "no", "no", "48076382506")
KDE = (*GNOME[:8], "0")
GREETER = ("x11", "greeter", "seat0", "tty1", "yes", "no", "no", "no", "0")
OVER_SSH = ("tty", "user", "", "pts/7", "yes", "yes", "no", "no", "48076382506")
MANAGER = ("unspecified", "manager", "", "", "yes", "no", "no", "no", "0")
LONG, SHORT = IDLE_AFTER_SECONDS + 1, 2.0

DEVICES = """\
I: Bus=0019 Vendor=0000 Product=0001 Version=0000
N: Name="Power Button"
H: Handlers=kbd event0

I: Bus=0011 Vendor=0001 Product=0001 Version=ab41
N: Name="AT Translated Set 2 keyboard"
H: Handlers=sysrq kbd leds event3

I: Bus=0018 Vendor=04f3 Product=311c Version=0100
N: Name="ELAN0001:00 04F3:311C Touchpad"
H: Handlers=mouse1 event5

I: Bus=0018 Vendor=0000 Product=0000 Version=0000
N: Name="ST LIS3LV02DL Accelerometer"
H: Handlers=event9 js0
"""


def printed(*sessions: tuple[str, ...], **changed: str) -> str:
    """What loginctl prints of them; `changed` says what is different in all."""
    return "\n\n".join(
        "\n".join(f"{name}={changed.get(name, value)}" for name, value in zip(FIELDS, session, strict=True))
        for session in sessions
    )


@pytest.mark.parametrize(
    ("told", "input_idle", "expected"),
    [
        ("", SHORT, False),
        (printed(GNOME), LONG, True),
        (printed(GNOME, IdleHint="yes"), SHORT, False),
        (printed(GNOME, LockedHint="yes"), SHORT, False),
        (printed(GNOME, Active="no"), SHORT, False),
        (printed(KDE), SHORT, True),
        (printed(KDE), LONG, False),
        (printed(KDE), None, True),
        (printed(KDE, Remote="yes"), SHORT, False),
        (printed(KDE, Seat=""), SHORT, False),
        (printed(GREETER), SHORT, False),
        (printed(GREETER, MANAGER, OVER_SSH), SHORT, False),
        (printed(MANAGER, GREETER, KDE), SHORT, True),
    ],
)
def test_who_is_before_the_screen_works(told: str, input_idle: float | None, expected: bool) -> None:
    assert somebody_works(read_sessions(told), (), input_idle) is expected
    assert somebody_works(read_sessions(told), (LONG,), input_idle) is expected


def test_who_types_in_a_terminal_works_from_wherever() -> None:
    assert somebody_works(read_sessions(printed(OVER_SSH)), (LONG, SHORT), None)


def test_only_what_people_touch_is_watched() -> None:
    assert people_devices(DEVICES) == ("event0", "event3", "event5")


class Machine:
    """A PC's folders, with pipes for keyboards and a loginctl that prints what a test says."""

    def __init__(self, folder: Path) -> None:
        self.sessions, self.dev, self.proc = folder / "sessions", folder / "dev", folder / "proc"
        self.told = folder / "told"
        self.told.write_text("")
        for each in (self.sessions, self.dev / "input", self.dev / "pts", self.proc / "bus" / "input"):
            each.mkdir(parents=True)
        (self.proc / "bus" / "input" / "devices").write_text(DEVICES)
        for name in ("event0", "event3", "event9"):
            os.mkfifo(self.dev / "input" / name)
        (folder / "loginctl").write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\ncat {self.told}\n')
        (folder / "loginctl").chmod(0o755)
        self.asked = folder / "asked"

    def open_session(self, name: str, *printed_as: tuple[str, ...]) -> None:
        (self.sessions / name).touch()
        (self.sessions / f"{name}.ref").touch()
        self.told.write_text(printed(*printed_as))

    def type_on(self, name: str) -> None:
        keyboard = os.open(self.dev / "input" / name, os.O_WRONLY | os.O_NONBLOCK)
        os.write(keyboard, b"a key")
        os.close(keyboard)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Machine(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds to add to the clock that counts idle time."""
    ahead, real = [0.0], time.monotonic
    monkeypatch.setattr("appliance.worker.input_activity.time.monotonic", lambda: real() + ahead[0])
    yield ahead


def test_a_touch_is_noticed_once_and_never_read(machine: Machine, clock: list[float]) -> None:
    activity = InputActivity(machine.proc / "bus" / "input" / "devices", machine.dev / "input")
    clock[0] = 600
    assert (activity.idle_seconds() or 0) > 599
    machine.type_on("event3")
    assert (activity.idle_seconds() or 0) < 1
    clock[0] = 1200
    assert (activity.idle_seconds() or 0) > 599
    (machine.proc / "bus" / "input" / "devices").write_text("")
    assert activity.idle_seconds() is None
    activity.close()


def test_the_report_says_that_the_owner_works(machine: Machine, clock: list[float]) -> None:
    presence = Presence(machine.sessions, machine.proc, machine.dev)

    def is_active() -> bool:
        report = WorkerReport(name="pc-12", load=current_load(presence))
        return WorkerReport.model_validate_json(report.model_dump_json()).load.user_active

    assert not is_active() and not machine.asked.exists(), "nobody has signed in, so logind isn't asked"
    machine.open_session("2", MANAGER, KDE)
    assert is_active()
    assert machine.asked.read_text().split()[-1] == "2"
    clock[0] = IDLE_AFTER_SECONDS + 1
    assert not is_active()
    machine.type_on("event3")
    assert is_active()
    machine.open_session("2", (*GNOME[:7], "yes", "48076382506"))
    assert not is_active()
    (machine.dev / "pts" / "7").touch()
    machine.open_session("3", OVER_SSH)
    assert is_active()
    presence.close()


def test_without_logind_nobody_is_seen_at_a_desktop(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "none", tmp_path, tmp_path)
    assert not presence.somebody_works()
    presence.close()
