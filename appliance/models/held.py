"""The models that the box holds, by the name that requests use: in cellule.db, with the one that ships.

A row appears after the files are in the store and goes before they do, so a name always has its files.
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from pydantic import ValidationError
from sqlite_utils import Database

from appliance.engines.options import Kind
from appliance.errors import Refused
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.demo import DEMO_MODEL_HASH_PATH, DEMO_MODEL_NAME, DEMO_MODEL_PATH
from appliance.models.entry import Entry
from appliance.models.facts import ModelFacts
from appliance.models.names import check_name
from appliance.models.naming import OFFERED_ALIASES
from appliance.models.reading import read_facts
from appliance.storage import transaction

_COLUMNS = """name, digest, bundle, facts, entry, source, licence, licence_accepted_by, added_by, added_at,
    deprecated_at, retired_at, successor"""


class ModelUnknown(Refused):
    """No model of that name is on the box."""

    code = "model_unknown"
    http_status = 404


class ModelNameTaken(Refused):
    """Another model has that name already."""

    code = "model_name_taken"
    http_status = 409


@dataclass(frozen=True)
class HeldModel:
    """Times are epoch seconds. `source` is a sentence's end: "huggingface.co/Qwen/…", "a USB stick".

    `successor` is the entry to take instead, once it is deprecated or retired.
    """

    name: str
    bundle: Bundle
    facts: ModelFacts
    entry: str
    source: str
    licence: str
    licence_accepted_by: str | None
    added_by: str | None
    added_at: float
    deprecated_at: float | None = None
    retired_at: float | None = None
    successor: str = ""

    @property
    def digest(self) -> str:
        return self.bundle.digest

    @property
    def kind(self) -> Kind:
        return self.facts.kind

    @property
    def ships(self) -> bool:
        """It is part of the product and can't be removed."""
        return self.name == DEMO_MODEL_NAME


def held_models(db: Database) -> list[HeldModel]:
    """All of them by name, the one that ships first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM models ORDER BY name")  # noqa: S608 our own columns
    return [demo_model(), *(_held(row) for row in rows)]


def held_model(db: Database, name: str) -> HeldModel:
    """Raises ModelUnknown."""
    found = next((model for model in held_models(db) if model.name.lower() == name.lower()), None)
    if found is None:
        raise ModelUnknown(
            f"There is no model {name[:100]!r} on the box.", next_step="Reload the list of models."
        )
    return found


def add_held(db: Database, model: HeldModel) -> None:
    """Its files must be in the store. Raises ModelNameTaken, and what `check_name` does."""
    values = [
        model.name,
        model.digest,
        model.bundle.model_dump_json(),
        model.facts.model_dump_json(),
        model.entry,
        model.source,
        model.licence,
        model.licence_accepted_by,
        model.added_by,
        model.added_at,
        model.deprecated_at,
        model.retired_at,
        model.successor,
    ]
    try:
        with transaction(db):
            refuse_taken(db, model.name)
            db.execute(f"INSERT INTO models ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
    except sqlite3.IntegrityError as error:
        raise _taken(model.name) from error


def refuse_taken(db: Database, name: str) -> None:
    """Raises ModelNameTaken for a name of a model or an alias; NameRefused for one that none can have."""
    check_name(name)
    has_alias = db.execute("SELECT 1 FROM model_aliases WHERE alias = ?", [name]).fetchone()
    has_model = db.execute("SELECT 1 FROM models WHERE name = ?", [name]).fetchone()
    if has_alias or has_model or name.lower() in (DEMO_MODEL_NAME, *OFFERED_ALIASES):
        raise _taken(name)


def forget_held(db: Database, name: str) -> None:
    """Without a word about its files."""
    db.execute("DELETE FROM models WHERE name = ?", [name])


def keep_lifecycles(db: Database, catalogue: dict[str, Entry]) -> list[str]:
    """Writes the dates of the catalogue, which a release may have changed, to the models; whose they were."""
    changed = []
    for model in held_models(db):
        entry = catalogue.get(model.entry)
        if model.ships or entry is None:
            continue
        dates = lifecycle_of(entry)
        if dates != (model.deprecated_at, model.retired_at, model.successor):
            db.execute(
                "UPDATE models SET deprecated_at = ?, retired_at = ?, successor = ? WHERE name = ?",
                [*dates, model.name],
            )
            changed.append(model.name)
    return changed


def lifecycle_of(entry: Entry | None) -> tuple[float | None, float | None, str]:
    """When deprecated, when retired (the day's beginning in UTC), what to take instead."""
    if entry is None:
        return None, None, ""
    life = entry.lifecycle
    return _epoch(life.deprecated), _epoch(life.retired), life.migrate_to


@cache
def demo_model() -> HeldModel:
    """The model that ships. Its hash is the recorded one: the verdict on a boot is what checks it."""
    file = BundleFile(
        path=DEMO_MODEL_PATH.name,
        size_bytes=DEMO_MODEL_PATH.stat().st_size,
        sha256=DEMO_MODEL_HASH_PATH.read_text().split()[0],
    )
    facts = read_facts({file.path: DEMO_MODEL_PATH})
    bundle = Bundle(format=ModelFormat.GGUF, files=(file,))
    return HeldModel(DEMO_MODEL_NAME, bundle, facts, "", "the appliance", facts.licence, None, None, 0.0)


def _held(row: tuple[Any, ...]) -> HeldModel:
    name, _, bundle, facts, *rest = row
    try:
        read = Bundle.model_validate_json(bundle), ModelFacts.model_validate_json(facts)
    except ValidationError as error:
        raise ValueError(f"the record of the model {name} can't be read") from error
    return HeldModel(name, *read, *rest)


def _taken(name: str) -> ModelNameTaken:
    return ModelNameTaken(
        f"There is a model or an alias {name!r} already.", next_step="Give the new one another name."
    )


def _epoch(day: date | None) -> float | None:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() if day else None
