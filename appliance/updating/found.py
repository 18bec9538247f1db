"""What the box knows of releases it could install: which, from where, since when; in activity.db.

A release appears here only after `trust.look` has verified it. How the channel answered the last time is
kept too, so that a silent one is told with the time since when, and is asked again after a while that
grows.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from appliance.storage import transaction
from appliance.updating.release import Offer, Origin, Release

REGULAR_SECONDS = 3600.0
"""Between two looks at a channel that answers."""
_FIRST_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Found:
    """`source` is what the installer takes: an address or a path. Times are epoch seconds.

    `expired_at`: when the signatures that lead to it ran out, None while they are valid.
    """

    release: Release
    origin: Origin
    source: str
    found_at: float
    expired_at: float | None = None


@dataclass(frozen=True)
class ChannelState:
    """How the channel answers. `code` and `sentence` are of the last refusal; "" after a good look."""

    url: str
    looked_at: float
    answered_at: float | None
    failing_since: float | None
    failures: int
    code: str
    sentence: str
    next_look_at: float


def found_releases(activity: Database) -> list[Found]:
    """Everything that was found, in the order of finding."""
    rows = activity.execute(
        "SELECT release, origin, source, found_at, expired_at FROM found_releases ORDER BY found_at, version"
    )
    return [
        Found(Release.model_validate_json(release), Origin(origin), source, found_at, expired_at)
        for release, origin, source, found_at, expired_at in rows
    ]


def record_offer(activity: Database, origin: Origin, source_folder: str, offer: Offer, *, at: float) -> None:
    """Replaces what was found by that way before; `source_folder` (ends with /) holds the bundles."""
    with transaction(activity):
        known = dict(
            activity.execute("SELECT version, found_at FROM found_releases WHERE origin = ?", [origin.value])
        )
        activity.execute("DELETE FROM found_releases WHERE origin = ?", [origin.value])
        for release in offer.releases:
            activity.execute(
                """INSERT OR REPLACE INTO found_releases
                (version, origin, source, release, found_at, expired_at) VALUES (?, ?, ?, ?, ?, ?)""",
                [
                    release.version,
                    origin.value,
                    source_folder + release.bundle,
                    release.model_dump_json(),
                    known.get(release.version, at),
                    offer.expired_at,
                ],
            )


def forget_found(activity: Database, origin: Origin) -> None:
    """Nothing is offered by that way any more."""
    activity.execute("DELETE FROM found_releases WHERE origin = ?", [origin.value])


def channel_state(activity: Database) -> ChannelState | None:
    """None before the first look."""
    row = activity.execute(
        """SELECT url, looked_at, answered_at, failing_since, failures, code, sentence, next_look_at
        FROM channel_looks"""
    ).fetchone()
    return ChannelState(*row) if row else None


def after_look(
    former: ChannelState | None, url: str, *, at: float, code: str = "", sentence: str = ""
) -> ChannelState:
    """The state after a look that was good (`code` "") or refused. Pure."""
    if former is not None and former.url != url:
        former = None
    if not code:
        return ChannelState(url, at, at, None, 0, "", "", at + REGULAR_SECONDS)
    failures = (former.failures if former else 0) + 1
    wait = min(_FIRST_RETRY_SECONDS * 2 ** (failures - 1), REGULAR_SECONDS)
    return ChannelState(
        url,
        at,
        former.answered_at if former else None,
        (former and former.failing_since) or at,
        failures,
        code,
        sentence,
        at + wait,
    )


def is_due(state: ChannelState | None, url: str, at: float, *, damaged_at: float = 0.0) -> bool:
    """Whether to look now; a clock that was put back does not hold it up. Pure.

    `damaged_at`: since then a release no longer starts, and whoever reads of it wants it offered again.
    """
    if state is None or state.url != url:
        return True
    return not state.looked_at <= at < state.next_look_at or state.looked_at < damaged_at <= at


def record_look(activity: Database, state: ChannelState) -> None:
    """Keeps how the channel answered."""
    activity.execute(
        """INSERT OR REPLACE INTO channel_looks
        (id, url, looked_at, answered_at, failing_since, failures, code, sentence, next_look_at)
        VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)""",
        [
            state.url,
            state.looked_at,
            state.answered_at,
            state.failing_since,
            state.failures,
            state.code,
            state.sentence,
            state.next_look_at,
        ],
    )


def look_soon(activity: Database) -> None:
    """An admin asks to look now: the next turn of the job does."""
    activity.execute("UPDATE channel_looks SET next_look_at = 0")
