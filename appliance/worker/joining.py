"""From a code to a member of the fleet: redeem it, show the short code, wait until an admin has compared it.

May be interrupted at any point and repeated: the same code makes the same worker, and once redeemed the
code is not needed again.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

import psutil

from appliance.enrolment.invitation_code import parse_code
from appliance.enrolment.pinned import Address, BoxBusy, BoxUnreachable
from appliance.enrolment.redeeming import Approved, Pending, Redemption, Revoked, redeem
from appliance.errors import NotTrusted, Refused
from appliance.host.keys import ensure_private_key
from appliance.worker.facts import machine_facts
from appliance.worker.membership import Membership, MembershipStore
from appliance.worker.standing import FindBoxes, ask_standing

log = logging.getLogger(__name__)

REDEEM_WITHIN_SECONDS = 300.0
ASK_EVERY_SECONDS = 0.5
ASK_LESS_OFTEN_AFTER_SECONDS = 300.0
ASK_RARELY_EVERY_SECONDS = 5.0


class JoinRefused(NotTrusted):
    """An admin refused this machine."""

    code = "join_refused"


class BoxIsHere(Refused):
    """The box runs on this very machine: a tunnel to oneself leads nowhere."""

    code = "box_is_here"


def redeem_code(store: MembershipStore, code: str, interface: str, find_boxes: FindBoxes) -> Membership:
    """Redeems `code` and keeps what came of it; a box that is away is waited for, REDEEM_WITHIN_SECONDS.

    Raises what `redeem` raises, InvitationMistyped before anything is sent; and BoxIsHere.
    """
    invitation_id = parse_code(code).id
    facts = machine_facts()
    key = ensure_private_key(store.key_path(invitation_id))
    redemption = _redeem_patiently(lambda: redeem(code, key, facts, _elsewhere(find_boxes())))
    membership = Membership(
        name=facts.name,
        invitation_id=invitation_id,
        worker_id=redemption.worker_id,
        short_code=redemption.short_code,
        poll_key=redemption.poll_key,
        pin=redemption.pin,
        address=redemption.address,
        interface=interface,
    )
    store.save(membership)
    return membership


def _elsewhere(candidates: Iterable[Address]) -> Iterator[Address]:
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    for host, port in candidates:
        if host in own:
            raise BoxIsHere(
                f"{host} is this machine: the box answers on it already, as its own first node.",
                next_step="Join from another computer.",
            )
        yield host, port


def _redeem_patiently(attempt: Callable[[], Redemption]) -> Redemption:
    deadline = time.monotonic() + REDEEM_WITHIN_SECONDS
    while True:
        try:
            return attempt()
        except (BoxUnreachable, BoxBusy) as error:
            if time.monotonic() > deadline:
                raise
            log.warning("%s Trying again.", error)
            time.sleep(error.retry_after_seconds)


def wait_for_approval(store: MembershipStore, membership: Membership, find_boxes: FindBoxes) -> Membership:
    """The membership with its config, once an admin has approved; a box that is away is waited for.

    Raises JoinRefused, and BoxRefused when the box doesn't know this worker any more.
    """
    started = time.monotonic()
    while True:
        waited = time.monotonic() - started
        pause = ASK_EVERY_SECONDS if waited < ASK_LESS_OFTEN_AFTER_SECONDS else ASK_RARELY_EVERY_SECONDS
        try:
            address, standing = ask_standing(membership, find_boxes)
        except BoxUnreachable as error:
            time.sleep(error.retry_after_seconds)
            continue
        match standing:
            case Approved(config):
                joined = membership.model_copy(update={"address": address, "config": config})
                store.save(joined)
                return joined
            case Revoked():
                store.wipe()
                raise JoinRefused(
                    "An admin refused this machine.", next_step="Ask for a new invitation if that was wrong."
                )
            case Pending():
                time.sleep(pause)
