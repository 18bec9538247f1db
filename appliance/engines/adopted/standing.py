"""When an adopted server is looked at, when it is questioned, and what is made of the outcome. Pure.

A look is its list of models: cheap, every few seconds. A check asks the fixed questions: at the start, when
it comes back, when what it shows has changed, and every few minutes while nobody uses it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.engines.adopted.checking import Verdict

LOOK_EVERY_SECONDS = 2.0
CHECK_EVERY_SECONDS = 300.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 30.0
SILENT_LOOKS = 2
"""So many looks in a row may time out while it answers nobody."""


class Deed(StrEnum):
    """What to do now."""

    REST = "rest"
    LOOK = "look"
    CHECK = "check"


@dataclass(frozen=True)
class Standing:
    """Times are monotonic seconds."""

    ready: bool = False
    trouble: str = "It was not checked yet."
    failures: int = 0
    """Checks that failed in a row."""
    silent_looks: int = 0
    looked_at: float = float("-inf")
    checked_at: float = float("-inf")
    shown: str = ""
    """What the server showed of the model at the last check: another means a check at once."""
    fingerprint: str = ""
    """Of the adoption."""


def next_deed(standing: Standing, now: float, *, idle: bool) -> Deed:
    """`idle`: no request is being answered."""
    if not standing.ready:
        return Deed.CHECK if now >= standing.checked_at + retry_seconds(standing.failures) else Deed.REST
    if idle and now >= standing.checked_at + CHECK_EVERY_SECONDS:
        return Deed.CHECK
    return Deed.LOOK if now >= standing.looked_at + LOOK_EVERY_SECONDS else Deed.REST


def retry_seconds(failures: int) -> float:
    """Doubles with each failed check, up to LONGEST_RETRY_SECONDS."""
    return 0.0 if not failures else min(FIRST_RETRY_SECONDS * 2.0 ** (failures - 1), LONGEST_RETRY_SECONDS)


def after_check(standing: Standing, verdict: Verdict, shown: str, now: float) -> Standing:
    """The first fit verdict is the adoption: its fingerprint stays."""
    if verdict.fit:
        return Standing(
            ready=True,
            trouble="",
            looked_at=now,
            checked_at=now,
            shown=shown,
            fingerprint=standing.fingerprint or verdict.fingerprint,
        )
    return replace(
        standing,
        ready=False,
        trouble=" ".join(verdict.reasons),
        failures=standing.failures + 1,
        silent_looks=0,
        looked_at=now,
        checked_at=now,
    )


def after_silence(standing: Standing, trouble: str, now: float, *, is_gone: bool) -> Standing:
    """`is_gone`: nobody accepts a connection; else it only gave no answer in time."""
    silent = standing.silent_looks + 1
    if standing.ready and not is_gone and silent < SILENT_LOOKS:
        return replace(standing, silent_looks=silent, looked_at=now)
    return replace(
        standing,
        ready=False,
        trouble=trouble,
        failures=standing.failures + 1,
        silent_looks=silent,
        looked_at=now,
        checked_at=now,
    )


def after_look(standing: Standing, shown: str, now: float) -> Standing:
    """`shown` as it was: all is well. Else it is due for a check, and serves nobody until then."""
    if shown == standing.shown:
        return replace(standing, silent_looks=0, looked_at=now)
    return replace(
        standing,
        ready=False,
        trouble="What it shows of the model has changed; it is being checked.",
        failures=0,
        looked_at=now,
    )
