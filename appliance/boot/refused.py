"""Releases that this box does not try again, with the story of each; in cellule.db, and so in backups."""

from dataclasses import dataclass

from sqlite_utils import Database

from appliance.boot.story import RollbackStory
from appliance.boot.telling import paragraph
from appliance.clock import now


@dataclass(frozen=True)
class RefusedRelease:
    """`at` is epoch seconds of the refusal; `seen_at` when an admin put the banner away."""

    version: str
    root_hash: str
    reason: str
    story: RollbackStory
    at: float
    seen_at: float | None


def refuse_release(db: Database, story: RollbackStory) -> bool:
    """Records that the story's release is not tried again; False when that was known."""
    done = db.execute(
        """INSERT INTO refused_releases (version, root_hash, reason, story, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (version) DO NOTHING""",
        [story.version, story.root_hash, paragraph(story), story.model_dump_json(), now()],
    )
    return bool(done.rowcount)


def is_refused(db: Database, version: str) -> bool:
    """Whether this box tried that version and went back."""
    return bool(db.execute("SELECT 1 FROM refused_releases WHERE version = ?", [version]).fetchone())


def refused_releases(db: Database) -> tuple[RefusedRelease, ...]:
    """The newest refusal first."""
    rows = db.execute(
        "SELECT version, root_hash, reason, story, at, seen_at FROM refused_releases ORDER BY rowid DESC"
    )
    return tuple(
        RefusedRelease(version, root_hash, reason, RollbackStory.model_validate_json(story), at, seen_at)
        for version, root_hash, reason, story, at, seen_at in rows
    )


def mark_seen(db: Database, version: str, account_id: str) -> None:
    """Puts the banner of this refusal away; the page stays."""
    db.execute(
        "UPDATE refused_releases SET seen_at = ?, seen_by = ? WHERE version = ? AND seen_at IS NULL",
        [now(), account_id, version],
    )
