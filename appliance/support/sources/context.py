"""What a source may read from: settings, storage and the host's answers."""

from dataclasses import dataclass

from sqlite_utils import Database

from appliance.host import Host
from appliance.settings import Settings


@dataclass(frozen=True)
class Context:
    """The box as the service user sees it; `db` is cellule.db, `activity` activity.db."""

    settings: Settings
    db: Database
    activity: Database
    host: Host


@dataclass(frozen=True)
class Part:
    """One file of a bundle, before redaction. `path` is relative, with the names of the product only."""

    path: str
    text: str
