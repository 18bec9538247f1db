"""The verdict: is this boot good? And what follows from it. Decision 0007 tells why.

    good                   → the release is blessed; starting it again costs no try
    bad, release on trial  → restart; when no try is left systemd-boot starts the other slot
    bad, was good before   → stay up: it was good once, so another start would end the same way
    the data is bad        → stay up unblessed; the try is given back: the other slot has the same data

Checks run in their order and the first failure ends it. No check outlasts its limit, even one that hangs.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.boot.breadcrumbs import Breadcrumb, Outcome
from appliance.boot.checks import Box, Check
from appliance.boot.failure import CheckFailed, Fault
from appliance.boot.word import Kind

ASK_AGAIN_SECONDS = 0.5

Note = Callable[[str, Outcome, str, str], Breadcrumb]
"""Trail.note: step, outcome, sentence, log."""


class Action(StrEnum):
    BLESS = "bless"
    RESTART = "restart"
    STAY_UP = "stay-up"


@dataclass(frozen=True)
class Verdict:
    """`check` names the one that failed; "" for a good boot."""

    kind: Kind
    sentence: str
    check: str = ""
    next_step: str = ""

    @property
    def is_good(self) -> bool:
        return self.kind is Kind.GOOD


def what_follows(kind: Kind, *, is_on_trial: bool) -> Action:
    """See the table above."""
    match kind:
        case Kind.GOOD:
            return Action.BLESS
        case Kind.BAD_RELEASE:
            return Action.RESTART if is_on_trial else Action.STAY_UP
        case Kind.BAD_DATA:
            return Action.STAY_UP


def judge(
    checks: Iterable[Check], box: Box, note: Note, log_around: Callable[[tuple[str, ...]], str]
) -> Verdict:
    """Carries out the checks, leaving a breadcrumb after each; at a failure one with the log around it."""
    for check in checks:
        started = time.monotonic()
        failure = _carry_out(check, box)
        if isinstance(failure, str):
            note(check.name, Outcome.OK, failure, "")
            continue
        took = time.monotonic() - started
        sentence = failure.sentence if failure.is_final else f"{failure.sentence} (waited {took:.0f} s)"
        note(check.name, Outcome.FAILED, sentence, log_around(check.units))
        kind = Kind.BAD_DATA if failure.fault is Fault.DATA else Kind.BAD_RELEASE
        return Verdict(kind, sentence, check.name, failure.next_step)
    return Verdict(Kind.GOOD, "This boot is good: the box answers.")


def _carry_out(check: Check, box: Box) -> str | CheckFailed:
    """The sentence of a fulfilled check, or why it isn't when its time is up."""
    ended: list[str] = []
    last: list[CheckFailed] = []
    give_up_at = time.monotonic() + check.limit_seconds

    def ask_until_fulfilled() -> None:
        while time.monotonic() < give_up_at:
            try:
                ended.append(check.run(box))
                return
            except CheckFailed as failure:
                last.append(failure)
                if failure.is_final:
                    return
            except Exception as error:  # a check that breaks is a check that failed
                last.append(CheckFailed(f"The check broke: {type(error).__name__}: {error}."))
            time.sleep(ASK_AGAIN_SECONDS)

    # what hangs in a system call can't be interrupted, only left behind
    asking = threading.Thread(target=ask_until_fulfilled, name=check.name, daemon=True)
    asking.start()
    asking.join(check.limit_seconds)
    if ended:
        return ended[0]
    return last[-1] if last else CheckFailed(f"No word within {check.limit_seconds:.0f} s.", is_final=True)
