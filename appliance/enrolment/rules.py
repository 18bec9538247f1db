"""What enrolment allows, and why: pure decisions over an invitation, a worker and the time.

An invitation makes exactly one worker. The same key may come again, for its answer may have been lost;
another key never. A tunnel address belongs to one worker as long as that worker lives, and rests
afterwards: it goes to another only when no address is left that was never used.
"""

import ipaddress
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.enrolment.contract import DesiredEngine, DesiredState, WorkerState
from appliance.enrolment.records import Invitation, InvitationState, Worker
from appliance.enrolment.wishes import Wish
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.settings import TUNNEL_BOX_ADDRESS, TUNNEL_NETWORK

REPORT_EVERY_SECONDS = 5.0
_WORKER_SLOTS = 4


class Redeeming(StrEnum):
    """What comes of a redemption whose proof is right."""

    NEW = "new"
    REPEATED = "repeated"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"
    WORKER_REVOKED = "worker_revoked"
    KEY_KNOWN = "key_known"


@dataclass(frozen=True)
class RedeemDecision:
    """`reason` is a sentence for the person at the worker."""

    outcome: Redeeming
    reason: str

    @property
    def is_allowed(self) -> bool:
        return self.outcome in (Redeeming.NEW, Redeeming.REPEATED)


_REASONS = {
    Redeeming.NEW: "The invitation is open.",
    Redeeming.REPEATED: "The invitation was redeemed by this same key.",
    Redeeming.USED: "The invitation was already used by another machine.",
    Redeeming.EXPIRED: "The invitation has expired.",
    Redeeming.REVOKED: "The invitation was revoked.",
    Redeeming.WORKER_REVOKED: "This worker was revoked.",
    Redeeming.KEY_KNOWN: "This key already belongs to a worker of the box.",
}


def may_redeem(
    invitation: Invitation, made: Worker | None, *, public_key: str, key_is_known: bool, at: float
) -> RedeemDecision:
    """Whether `public_key` may redeem `invitation` now.

    `made` is the worker that came of this invitation; `key_is_known` says that some other worker, of
    whatever state, has the key.
    """
    outcome = _redeeming(invitation, made, public_key, key_is_known, at)
    return RedeemDecision(outcome, _REASONS[outcome])


def _redeeming(
    invitation: Invitation, made: Worker | None, public_key: str, key_is_known: bool, at: float
) -> Redeeming:
    if made is not None:
        if made.public_key != public_key:
            return Redeeming.USED
        return Redeeming.WORKER_REVOKED if made.state is WorkerState.REVOKED else Redeeming.REPEATED
    match invitation.state(at):
        case InvitationState.REVOKED:
            return Redeeming.REVOKED
        case InvitationState.EXPIRED:
            return Redeeming.EXPIRED
        case InvitationState.REDEEMED:
            return Redeeming.USED
        case InvitationState.OPEN:
            return Redeeming.KEY_KNOWN if key_is_known else Redeeming.NEW


def free_name(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, with a number behind it if a live node has that name in whatever capitals.

    Answers, ledger and pages tell nodes by name: two of one name would share each other's figures.
    """
    folded = {name.casefold() for name in taken}
    candidates = (wanted if number == 1 else f"{wanted} {number}" for number in itertools.count(1))
    return next(name for name in candidates if name.casefold() not in folded)


def next_tunnel_address(in_use: Collection[str], resting: Sequence[str]) -> str | None:
    """The address for the next worker, or None when 65,533 workers live.

    `in_use` are those of live workers; `resting` those of revoked ones, the longest at rest first.
    """
    taken = {TUNNEL_BOX_ADDRESS, *in_use, *resting}
    fresh = (str(host) for host in ipaddress.IPv4Network(TUNNEL_NETWORK).hosts() if str(host) not in taken)
    return next(fresh, None) or next(iter(resting), None)


def ordinary_wish() -> Wish:
    """Of a worker for which nothing was decided: it answers with the demo."""
    return Wish(engines=(DesiredEngine(model=DEMO_MODEL_NAME, slots=_WORKER_SLOTS),))


def desired_state(
    worker: Worker, wish: Wish | None = None, adopted: Sequence[DesiredEngine] = ()
) -> DesiredState:
    """The state that `worker` should bring itself into; where nothing was decided it has the demo model.

    `adopted` stand before servers of the worker's owner; one takes the place of a wished engine of its name.
    """
    if worker.state is not WorkerState.APPROVED:
        return DesiredState(state=WorkerState.REVOKED, report_every_seconds=REPORT_EVERY_SECONDS)
    taken = {engine.model for engine in adopted}
    wish = wish or ordinary_wish()
    return DesiredState(
        state=WorkerState.APPROVED,
        report_every_seconds=REPORT_EVERY_SECONDS,
        engines=(*(one for one in wish.engines if one.model not in taken), *adopted),
        models=wish.models,
        part=wish.part,
    )
