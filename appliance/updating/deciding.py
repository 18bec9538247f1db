"""May this release be installed, and does the box do it by itself now? Each answer comes with its reasons.
Pure.

What blocks can't be overruled by anybody. What the box waits for, an admin's "install now" overrules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from appliance.updating.choice import UpdateChoice
from appliance.updating.found import Found
from appliance.updating.installs import Install
from appliance.updating.version_order import is_newer, place_of
from appliance.updating.wave import turn_comes_at
from appliance.updating.window import is_open, opens_at

_RETRY_SECONDS = 3600.0
_LONGEST_RETRY_SECONDS = 24 * 3600.0


class Why(StrEnum):
    """Why not, or not yet."""

    OTHER_KIND = "other-kind"
    NOT_NEWER = "not-newer"
    ROLLED_BACK = "rolled-back"
    NEEDS_ANOTHER_FIRST = "needs-another-first"
    INSTALLED = "installed"
    HELD = "held"
    UNDER_WAY = "under-way"
    ON_TRIAL = "on-trial"
    SOMEBODY_MUST_ASK = "somebody-must-ask"
    NOT_AUTOMATIC = "not-automatic"
    FAILED_BEFORE = "failed-before"
    WAVE = "wave"
    WINDOW = "window"


@dataclass(frozen=True)
class Reason:
    """`at` is when it ends (epoch seconds), None when nobody knows; `version` is the one that is meant."""

    why: Why
    at: float | None = None
    version: str = ""


@dataclass(frozen=True)
class Failures:
    """How often an install of one version failed, and when the last time."""

    count: int
    last_at: float


@dataclass(frozen=True)
class Facts:
    """The box at the moment `at`. `compatible` is what its slots take, None when that isn't known here.

    `waiting` is the version that is installed and not started yet; "" for none. `is_on_trial`: the
    boot of the running one is not judged yet, so the other slot must stay as it is: it is the way back.
    """

    at: float
    running: str
    compatible: str | None
    waiting: str
    is_under_way: bool
    is_on_trial: bool
    refused: frozenset[str]
    failures: Mapping[str, Failures]
    choice: UpdateChoice
    zone: ZoneInfo
    box_id: str


@dataclass(frozen=True)
class Judgement:
    """Why a release can't be installed, and what the box waits for before it does so by itself."""

    blocking: tuple[Reason, ...]
    waiting: tuple[Reason, ...]

    @property
    def may_be_installed(self) -> bool:
        return not self.blocking

    @property
    def installs_itself(self) -> bool:
        return not self.blocking and not self.waiting


def judge(found: Found, facts: Facts) -> Judgement:
    """All reasons, the weightiest first."""
    blocking = tuple(_blocking(found, facts))
    return Judgement(blocking, () if blocking else tuple(_waiting(found, facts)))


def choose(founds: list[Found], facts: Facts) -> Found | None:
    """The newest release that the box installs by itself now."""
    ready = [found for found in founds if judge(found, facts).installs_itself]
    return max(ready, key=lambda found: place_of(found.release.version), default=None)


def may_restart(install: Install, facts: Facts) -> bool:
    """Whether the box restarts now into what is installed: not on hold, and asked for or in the window.

    What an admin ordered starts in the window also where nothing is installed automatically.
    """
    choice = facts.choice
    if choice.hold:
        return False
    is_wanted = choice.automatic or install.ordered_by is not None
    return install.restart_now or (is_wanted and is_open(choice.window, facts.at, facts.zone))


def _blocking(found: Found, facts: Facts) -> list[Reason]:
    release, reasons = found.release, []
    if facts.compatible is not None and release.compatible != facts.compatible:
        reasons.append(Reason(Why.OTHER_KIND))
    if not is_newer(release.version, facts.running):
        reasons.append(Reason(Why.NOT_NEWER, version=facts.running))
    elif facts.waiting and not is_newer(release.version, facts.waiting):
        reasons.append(Reason(Why.INSTALLED, version=facts.waiting))
    if release.version in facts.refused:
        reasons.append(Reason(Why.ROLLED_BACK))
    if release.min_version and is_newer(release.min_version, facts.running):
        reasons.append(Reason(Why.NEEDS_ANOTHER_FIRST, version=release.min_version))
    if facts.choice.hold:
        reasons.append(Reason(Why.HELD))
    if facts.is_under_way:
        reasons.append(Reason(Why.UNDER_WAY))
    if facts.is_on_trial:
        reasons.append(Reason(Why.ON_TRIAL, version=facts.running))
    return reasons


def _waiting(found: Found, facts: Facts) -> list[Reason]:
    release, choice, reasons = found.release, facts.choice, []
    if found.origin.is_offline:
        return [Reason(Why.SOMEBODY_MUST_ASK)]
    if not choice.automatic:
        return [Reason(Why.NOT_AUTOMATIC)]
    failed = facts.failures.get(release.version)
    if failed and (again := failed.last_at + _wait_after(failed.count)) > facts.at:
        reasons.append(Reason(Why.FAILED_BEFORE, again))
    turn = turn_comes_at(release, facts.box_id)
    if turn is None or turn > facts.at:
        reasons.append(Reason(Why.WAVE, turn))
    if not is_open(choice.window, facts.at, facts.zone):
        reasons.append(Reason(Why.WINDOW, opens_at(choice.window, facts.at, facts.zone)))
    return reasons


def _wait_after(failures: int) -> float:
    return float(min(_RETRY_SECONDS * 2 ** (failures - 1), _LONGEST_RETRY_SECONDS))
