"""Why did the box roll back? Told from what the failed starts left behind. Pure.

kernel images on the ESP     → which release used up its tries, how many, and whether it had been good before
breadcrumbs of those starts  → how far each came, and how it ended
no breadcrumb at all         → it never reached the data partition
"""

from collections.abc import Collection
from enum import StrEnum
from itertools import takewhile

from pydantic import BaseModel, ConfigDict

from appliance.boot.breadcrumbs import Boot, Breadcrumb, Outcome, Running
from appliance.boot.counting import Kernel


class Ending(StrEnum):
    """How one start of the failed release ended."""

    CHECK_FAILED = "check-failed"
    HUNG = "hung"
    STOPPED = "stopped"
    NOT_BLESSED = "not-blessed"
    NO_VERDICT = "no-verdict"
    NEVER_ARRIVED = "never-arrived"


class _Told(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


class Attempt(_Told):
    """One try. `at` is epoch seconds, 0 when the clock was wrong; `last_good_step` is "" when there is none.

    `silent_seconds` is how long a hung start said nothing before the next one began; None when unknown.
    """

    ending: Ending
    at: float = 0.0
    boot_id: str = ""
    last_good_step: str = ""
    check: str = ""
    sentence: str = ""
    log: str = ""
    silent_seconds: float | None = None


class RollbackStory(_Told):
    """What happened to a release that used up its tries. Oldest try first; there is at least one.

    `was_good`: it had run well on this box, and then no longer started. Otherwise it failed its trial.
    """

    version: str
    slot: str
    tries: int
    attempts: tuple[Attempt, ...]
    running_version: str
    root_hash: str = ""
    was_good: bool = False

    @property
    def telling(self) -> Attempt:
        """The try that explains most: the last with a failed check, else the last that arrived."""
        for endings in ({Ending.CHECK_FAILED}, set(Ending) - {Ending.NEVER_ARRIVED}):
            if found := [attempt for attempt in self.attempts if attempt.ending in endings]:
                return found[-1]
        return self.attempts[-1]

    @property
    def never_arrived(self) -> bool:
        """Whether no try came as far as the data partition."""
        return self.telling.ending is Ending.NEVER_ARRIVED

    @property
    def looks_damaged(self) -> bool:
        """Whether it ended as a copy does that its disk has damaged: without a word."""
        return self.was_good and self.telling.ending in {Ending.NEVER_ARRIVED, Ending.HUNG}


def rollback_story(
    boots: tuple[Boot, ...], kernels: tuple[Kernel, ...], running: Running, told: Collection[str]
) -> RollbackStory | None:
    """The story not told yet; None when no release used up its tries, or that was told already.

    `boots` oldest first, `told` versions.
    """
    failed = next(
        (
            kernel
            for kernel in kernels
            if (kernel.has_failed or kernel.no_longer_starts)
            and kernel.version != running.version
            and kernel.version not in told
        ),
        None,
    )
    if failed is None:
        return None
    left = _starts_of(failed, boots, running)
    never_arrived = (Attempt(ending=Ending.NEVER_ARRIVED),) * (failed.tries_done - len(left))
    return RollbackStory(
        version=failed.version,
        slot=failed.slot,
        tries=failed.tries_done,
        attempts=(*never_arrived, *(_attempt(boot, boots) for boot in left)),
        running_version=running.version,
        was_good=failed.no_longer_starts,
    )


def _starts_of(failed: Kernel, boots: tuple[Boot, ...], running: Running) -> tuple[Boot, ...]:
    """The starts of the failed release that lie just before this one, at most one a try."""
    earlier = [boot for boot in boots if boot.crumbs and boot.boot_id != running.boot_id]
    # starts of this slot that could not tell the story either
    while earlier and earlier[-1].version == running.version and not earlier[-1].last("running"):
        earlier.pop()
    tries = list(takewhile(lambda boot: _is_try_of(failed, boot), reversed(earlier)))
    return tuple(reversed(tries[: failed.tries_done]))


def _is_try_of(failed: Kernel, boot: Boot) -> bool:
    # what was good gets its tries back with each verdict: those that are gone are later starts
    counted = not failed.no_longer_starts or boot.last("verdict") is None
    return boot.version == failed.version and counted


def _attempt(boot: Boot, boots: tuple[Boot, ...]) -> Attempt:
    last = boot.crumbs[-1]
    good = [crumb for crumb in boot.crumbs if crumb.outcome is Outcome.OK and crumb.step not in _NO_STEPS]
    failed = next((crumb for crumb in boot.crumbs if _is_failed_check(crumb)), None)
    ending = _ending(boot, failed)
    return Attempt(
        ending=ending,
        at=last.at,
        boot_id=boot.boot_id,
        last_good_step=good[-1].step if good else "",
        check=failed.step if failed else "",
        sentence=failed.sentence if failed else last.sentence,
        log=failed.log if failed else "",
        silent_seconds=_silence(boot, boots) if ending is Ending.HUNG else None,
    )


_NO_STEPS = {"verdict", "running", "restart", "stopped"}


def _is_failed_check(crumb: Breadcrumb) -> bool:
    return crumb.outcome is Outcome.FAILED and crumb.step not in _NO_STEPS


def _ending(boot: Boot, failed: Breadcrumb | None) -> Ending:
    verdict = boot.last("verdict")
    if failed is not None:
        return Ending.CHECK_FAILED
    if verdict is not None and verdict.outcome is Outcome.OK:
        return Ending.NOT_BLESSED
    if boot.last("restart"):
        return Ending.NO_VERDICT
    return Ending.STOPPED if boot.last("stopped") else Ending.HUNG


def _silence(boot: Boot, boots: tuple[Boot, ...]) -> float | None:
    """From the last line of `boot` until the kernel of the next one started, as the clocks said."""
    following = next((each for each in boots if each.number > boot.number and each.crumbs), None)
    if following is None:
        return None
    first, last = following.crumbs[0], boot.crumbs[-1]
    silent = first.at - first.boot_seconds - last.at
    return round(silent) if first.at and last.at and silent >= 0 else None
