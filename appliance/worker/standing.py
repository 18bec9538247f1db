"""Asking the box who we are to it, wherever on the LAN it is now.

First at its last address, then wherever mDNS finds one; the pin tells the box from an impostor, so an
address that answers wrongly costs time and nothing else.
"""

import logging
from collections.abc import Callable, Iterable, Iterator

from appliance.enrolment.pinned import Address, BoxBusy, BoxNotTrusted, BoxUnreachable
from appliance.enrolment.redeeming import Approved, Pending, Revoked, poll_status
from appliance.worker.membership import Membership

log = logging.getLogger(__name__)

FindBoxes = Callable[[], Iterable[Address]]
"""Candidate addresses on the LAN; called anew for each search."""


def ask_standing(
    membership: Membership, find_boxes: FindBoxes
) -> tuple[Address, Pending | Approved | Revoked]:
    """Where the box answered, and what. Raises BoxUnreachable, and BoxRefused when it doesn't know us."""
    for address in _candidates(membership.address, find_boxes):
        try:
            return address, poll_status(address, membership.pin, membership.worker_id, membership.poll_key)
        except (BoxUnreachable, BoxBusy, BoxNotTrusted) as error:
            log.warning("%s", error.sentence)
    raise BoxUnreachable("The box does not answer on the LAN.", retry_after_seconds=5)


def _candidates(last: Address, find_boxes: FindBoxes) -> Iterator[Address]:
    yield last
    yield from (address for address in find_boxes() if address != last)
