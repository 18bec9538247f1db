"""When is it this box's turn? A release goes to a few boxes first, to the others later. Pure.

The place of a box in the queue follows from its id and the release, so it differs from release to release and
no box is always the first; it needs no word from the vendor and tells the vendor nothing.
"""

import hashlib

from appliance.updating.release import Release


def place_in_queue(box_id: str, version: str) -> float:
    """0 (among the first) to 100 (exclusive), evenly spread over boxes."""
    digest = hashlib.sha256(f"{box_id}\n{version}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100


def turn_comes_at(release: Release, box_id: str) -> float | None:
    """Epoch seconds; None when the vendor has not planned this box's turn yet."""
    place = place_in_queue(box_id, release.version)
    for step in release.waves:
        if place < step.percent:
            return release.published_at + step.after_hours * 3600
    return None
