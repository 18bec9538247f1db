"""What comes next for an install that was ordered. Pure: the machine's facts in, one move out.

ordered → installing → installed → restarting → trying → held
Anything else ends it: failed (with why), rolled back (the box said so), replaced by a newer one.
"""

from dataclasses import dataclass
from enum import StrEnum

from appliance.host import InstallState, InstallStatus, Slot, SlotState
from appliance.updating.installs import Install, Stage

MOST_RESTARTS = 2
_RESTART_SECONDS = 900.0
"""A restart that was asked for and did not come in this time is asked for again."""
_SILENCE_SECONDS = 60.0
"""An installer that knows nothing of an install for this long was restarted."""


class Act(StrEnum):
    """What to ask of the machine."""

    NOTHING = "nothing"
    INSTALL = "install"
    RESTART = "restart"


@dataclass(frozen=True)
class Box:
    """The machine as it is: the running version, both slots, when it started (epoch seconds)."""

    running: str
    slots: tuple[Slot, ...]
    booted_at: float

    @property
    def is_on_trial(self) -> bool:
        """Whether the boot of the running release is not judged yet."""
        slot = self.slot_of(self.running)
        return slot is not None and slot.state is SlotState.TRYING

    def slot_of(self, version: str) -> Slot | None:
        """The slot that holds that version."""
        return next((slot for slot in self.slots if slot.version == version), None)


@dataclass(frozen=True)
class Move:
    """`to` None: it stays where it is. The stage is recorded before the act, so that it is done once."""

    to: Stage | None = None
    act: Act = Act.NOTHING
    code: str = ""
    error: str = ""


_STAY = Move()


def next_move(
    install: Install, status: InstallStatus, box: Box, *, is_refused: bool, may_restart: bool, at: float
) -> Move:
    """`is_refused`: the box has tried this version and gone back. `may_restart`: now."""
    if install.stage is Stage.ORDERED:
        busy = status.state is InstallState.INSTALLING
        return _STAY if busy else Move(Stage.INSTALLING, Act.INSTALL)
    if install.stage is Stage.INSTALLING:
        return _while_installing(install, status, box, at)
    if install.stage in {Stage.INSTALLED, Stage.RESTARTING, Stage.TRYING}:
        return _after_install(install, box, is_refused=is_refused, may_restart=may_restart, at=at)
    return _STAY


def _while_installing(install: Install, status: InstallStatus, box: Box, at: float) -> Move:
    assert install.started_at is not None
    if status.version == install.version:
        if status.state is InstallState.INSTALLED:
            return Move(Stage.INSTALLED)
        if status.state is InstallState.FAILED:
            return Move(Stage.FAILED, code="install_failed", error=status.error)
        if status.state is InstallState.INSTALLING:
            return _STAY
    slot = box.slot_of(install.version)
    if slot is not None and slot.state in {SlotState.TRYING, SlotState.GOOD}:
        # the installer has forgotten it, but it came to its end
        return Move(Stage.INSTALLED)
    if box.booted_at > install.started_at or at - install.started_at > _SILENCE_SECONDS:
        return Move(Stage.FAILED, code="install_interrupted")
    return _STAY


def _after_install(install: Install, box: Box, *, is_refused: bool, may_restart: bool, at: float) -> Move:
    slot = box.slot_of(install.version)
    if box.running == install.version:
        if slot is not None and slot.state is SlotState.GOOD:
            return Move(Stage.HELD)
        return _STAY if install.stage is Stage.TRYING else Move(Stage.TRYING)
    if is_refused or (slot is not None and slot.state is SlotState.BAD):
        return Move(Stage.ROLLED_BACK)
    if slot is None:
        return Move(Stage.REPLACED)
    if slot.state is SlotState.NO_LONGER_STARTS:
        # it was good before that, only nobody had looked yet
        return Move(Stage.HELD)
    if install.stage is Stage.INSTALLED:
        if install.restarts >= MOST_RESTARTS:
            return Move(Stage.FAILED, code="did_not_start")
        return Move(Stage.RESTARTING, Act.RESTART) if may_restart else _STAY
    has_restarted = box.booted_at > install.stage_at or at - install.stage_at > _RESTART_SECONDS
    return Move(Stage.INSTALLED) if has_restarted else _STAY
