"""Every release that the box gave up, for those who tell of it: refused after its trial, or damaged later."""

from sqlite_utils import Database

from appliance.boot.damaged import DamagedRelease, damaged_releases, mark_damage_seen
from appliance.boot.refused import RefusedRelease, mark_seen, refused_releases

GivenUp = RefusedRelease | DamagedRelease


def given_up_releases(db: Database) -> tuple[GivenUp, ...]:
    """The newest story first; without those of a damaged copy that was written anew."""
    there = [release for release in damaged_releases(db) if release.over_at is None]
    return _newest_first((*refused_releases(db), *there))


def find_given_up(db: Database, version: str) -> GivenUp | None:
    """The newest story of this version, whether it is history or not."""
    told = _newest_first((*refused_releases(db), *damaged_releases(db)))
    return next((release for release in told if release.version == version), None)


def put_away(db: Database, version: str, account_id: str) -> None:
    """No banner tells of this version any more; its page stays."""
    mark_seen(db, version, account_id)
    mark_damage_seen(db, version, account_id)


def _newest_first(releases: tuple[GivenUp, ...]) -> tuple[GivenUp, ...]:
    return tuple(sorted(releases, key=lambda release: release.at, reverse=True))
