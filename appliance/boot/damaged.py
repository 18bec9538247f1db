"""Releases that were good here and no longer start, with the story of each; in cellule.db, and so in backups.

They are not refused: installed again, such a release is written anew, and its next good start ends the
incident. The record stays as history.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlite_utils import Database

from appliance.boot.story import RollbackStory
from appliance.boot.telling import paragraph
from appliance.clock import now


@dataclass(frozen=True)
class DamagedRelease:
    """`at` is epoch seconds of the story, `over_at` when the copy that no longer starts was gone."""

    version: str
    root_hash: str
    reason: str
    story: RollbackStory
    at: float
    seen_at: float | None
    over_at: float | None


def record_damaged(db: Database, story: RollbackStory) -> bool:
    """Records the story of a release that no longer starts; False while one of that version is not over."""
    done = db.execute(
        """INSERT INTO damaged_releases (version, root_hash, reason, story, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING""",
        [story.version, story.root_hash, paragraph(story), story.model_dump_json(), now()],
    )
    return bool(done.rowcount)


def damaged_releases(db: Database) -> tuple[DamagedRelease, ...]:
    """The newest first, with those that are over."""
    rows = db.execute(
        """SELECT version, root_hash, reason, story, at, seen_at, over_at FROM damaged_releases
        ORDER BY id DESC"""
    )
    return tuple(
        DamagedRelease(version, root_hash, reason, RollbackStory.model_validate_json(story), *times)
        for version, root_hash, reason, story, *times in rows
    )


def end_damage(db: Database, still_damaged: Collection[str]) -> None:
    """What is not among these versions was written anew, or another release took its place."""
    for release in damaged_releases(db):
        if release.over_at is None and release.version not in still_damaged:
            db.execute(
                "UPDATE damaged_releases SET over_at = ? WHERE version = ? AND over_at IS NULL",
                [now(), release.version],
            )


def mark_damage_seen(db: Database, version: str, account_id: str) -> None:
    """Puts the banner of this release away; the page stays."""
    db.execute(
        "UPDATE damaged_releases SET seen_at = ?, seen_by = ? WHERE version = ? AND seen_at IS NULL",
        [now(), account_id, version],
    )
