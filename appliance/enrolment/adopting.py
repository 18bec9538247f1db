"""Adopting a server that a worker's owner runs: what was found, what an admin took, what the worker is told.

Only what the worker itself reported can be adopted, by the server's port on that machine and its own name of
the model. Adopting the same again is adopting anew: what is behind the name now is then the right one.
"""

import json
from typing import ClassVar

from pydantic import TypeAdapter
from sqlite_utils import Database

from appliance.clock import now
from appliance.engines.adopted.servers import SERVERS, ServerKind
from appliance.engines.spec import ModelName
from appliance.enrolment.contract import DesiredEngine, FoundServer
from appliance.errors import Refused
from appliance.hardware.profile import EngineName, Setting
from appliance.settings import SILENT_AFTER_SECONDS

HEALTH_QUESTION = ("Answer with one word: what colour is a clear sky by day?", "blue")
"""What a server that talks sense is asked, and what its answer must hold; as the hwprofiles ask."""
SLOTS_WHEN_UNTOLD = 8
MOST_SLOTS = 64

_FOUND = TypeAdapter(tuple[FoundServer, ...])
_NAME: TypeAdapter[str] = TypeAdapter(ModelName)


class ServerNotFound(Refused):
    """The worker has not reported such a server, or no such model on it."""

    code: ClassVar[str] = "server_not_found"
    http_status: ClassVar[int] = 404


class NotForAdoption(Refused):
    """It was found, and can't be adopted like this."""

    code: ClassVar[str] = "not_for_adoption"


def found_servers(activity: Database, worker_id: str) -> tuple[FoundServer, ...]:
    """What the worker reported last, if it reports now."""
    row = activity.execute(
        "SELECT report FROM node_reports WHERE node = ? AND at > ?", [worker_id, now() - SILENT_AFTER_SECONDS]
    ).fetchone()
    return () if row is None else _FOUND.validate_python(json.loads(row[0]).get("found_servers", []))


def adopt_server(
    db: Database,
    activity: Database,
    worker_id: str,
    *,
    port: int,
    model: str,
    name: str,
    key_file: str = "",
    question: tuple[str, str] = HEALTH_QUESTION,
) -> None:
    """From now on `model` of the server at `port` answers as `name`. The worker hears with its next report.

    `key_file` is a path on the worker; `question`: ("", "") for a model that was not made to talk.
    Raises ServerNotFound, NotForAdoption.
    """
    server = next((one for one in found_servers(activity, worker_id) if one.port == port), None)
    if server is None:
        raise ServerNotFound(f"This worker reports no server on its port {port}.")
    _check(server, model, name, key_file)
    settings: dict[str, Setting] = {
        "url": f"http://127.0.0.1:{port}",
        "model": model,
        "prompt": question[0],
        "expects": question[1],
        "judge_text": bool(question[1]),
    }
    if server.kind is not ServerKind.OTHER:
        settings["server"] = server.kind.value
    if key_file:
        settings["key_file"] = key_file
    slots = min(server.slots or SLOTS_WHEN_UNTOLD, MOST_SLOTS)
    engine = DesiredEngine(model=name, slots=slots, engine=EngineName.ADOPTED, settings=settings)
    db.execute(
        "INSERT INTO adopted_servers (worker, name, engine, adoption, at) VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT (worker, name) DO UPDATE"
        " SET engine = excluded.engine, adoption = adoption + 1, at = excluded.at",
        [worker_id, name, engine.model_dump_json(), now()],
    )


def release_server(db: Database, worker_id: str, name: str) -> None:
    """Adopts no longer; the server itself runs on."""
    db.execute("DELETE FROM adopted_servers WHERE worker = ? AND name = ?", [worker_id, name])


def adopted_engines(db: Database, worker_id: str) -> tuple[DesiredEngine, ...]:
    """The engines that stand before the worker's adopted servers."""
    rows = db.execute(
        "SELECT engine, adoption FROM adopted_servers WHERE worker = ? ORDER BY name", [worker_id]
    )
    engines = [(DesiredEngine.model_validate_json(engine), adoption) for engine, adoption in rows.fetchall()]
    return tuple(
        engine.model_copy(update={"settings": {**engine.settings, "adoption": str(adoption)}})
        for engine, adoption in engines
    )


def _check(server: FoundServer, model: str, name: str, key_file: str) -> None:
    title = SERVERS[server.kind].title
    if server.needs_key and not key_file:
        raise NotForAdoption(
            f"{title} wants a key.", next_step="Give the file on that machine that holds it."
        )
    # one that wants a key does not tell its models without it: the worker will see
    found = next((one for one in server.models if one.id == model), None)
    if found is None and not server.needs_key:
        raise ServerNotFound(f"{title} on port {server.port} does not list the model {model[:100]!r}.")
    if found is not None and found.is_embedding:
        raise NotForAdoption(f"{model} makes embeddings; only models that write text can be adopted.")
    try:
        _NAME.validate_python(name)
    except ValueError:
        raise NotForAdoption(
            f"{name[:100]!r} can't be a model's name here.", next_step="Use letters, figures, . _ and -."
        ) from None
