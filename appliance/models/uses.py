"""What would miss a model if it went: aliases, and engines that hold it now."""

import json

from sqlite_utils import Database

from appliance.clock import age_seconds, now
from appliance.models.aliases import list_aliases
from appliance.settings import Settings

_HEARD_WITHIN_SECONDS = 60.0


def uses_of(settings: Settings, db: Database, activity: Database, model: str) -> list[str]:
    """Ends of a sentence: "the alias code", "an engine on the box"."""
    aliases = [f"the alias {each.alias}" for each in list_aliases(db) if each.model == model]
    nodes = [f"an engine on {node}" for node in serving_nodes(db, activity).get(model, ())]
    if not nodes and settings.engine_socket(model).exists():
        nodes = ["an engine on the box"]
    return [*aliases, *nodes]


def serving_nodes(db: Database, activity: Database) -> dict[str, list[str]]:
    """Which nodes said within the last minute that an engine of theirs holds a model, by model."""
    names = dict(db.execute("SELECT id, name FROM workers WHERE state = 'approved'"))
    found: dict[str, list[str]] = {}
    at = now()
    for node, said_at, report in activity.execute("SELECT node, at, report FROM node_reports"):
        if age_seconds(said_at, at) > _HEARD_WITHIN_SECONDS:
            continue
        for engine in json.loads(report).get("engines", ()):
            found.setdefault(str(engine.get("model")), []).append(str(names.get(node, node)))
    return found
