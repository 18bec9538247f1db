"""What requests may call a model, and how long it is kept up: what the pool holds in memory of both.

Read anew whenever cellule.db changes. `resolve` is pure and called for every request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import quote

from sqlite_utils import Database

from appliance.engines.options import Kind
from appliance.errors import Refused
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.unloadable import read_unloadable

DEFAULT_ALIAS = "default"
OFFERED_ALIASES = (DEFAULT_ALIAS, "code", "large")
Headers = list[tuple[bytes, bytes]]


class RetiredModel(Refused):
    """The model's time is over; the sentence names what to take."""

    code = "model_retired"
    http_status = 410


class Ending(NamedTuple):
    """Epoch seconds; `successor` is a model of the box where it has one, else the catalogue's entry."""

    deprecated_at: float | None
    retired_at: float | None
    successor: str


class NamedModel(NamedTuple):
    """The model that answers, and what the answer's headers say of its end."""

    model: str
    headers: Headers


@dataclass(frozen=True)
class ModelNames:
    """Aliases to models, the models that have an end, and those that lie on the box and could be loaded."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    endings: Mapping[str, Ending] = field(default_factory=dict)
    held: Mapping[str, Kind] = field(default_factory=dict)
    """With what each is for."""
    unloadable: Mapping[str, str] = field(default_factory=dict)
    """Of those the ones that no node can load, with why."""

    def resolve(self, asked: str, at: float) -> NamedModel:
        """Raises RetiredModel from the day on that the catalogue gives.

        The headers are those of RFC 9745 (deprecation), RFC 8594 (sunset) and RFC 5829 (successor-version).
        """
        model = self.aliases.get(asked, asked)
        ending = self.endings.get(model)
        if ending is None:
            return NamedModel(model, [])
        if ending.retired_at is not None and at >= ending.retired_at:
            raise RetiredModel(
                f"The model {model} is retired.",
                next_step=f"Use {ending.successor} instead." if ending.successor else "",
                param="model",
            )
        if ending.deprecated_at is not None and at >= ending.deprecated_at:
            return NamedModel(model, _warning(ending))
        return NamedModel(model, [])

    def is_retired(self, model: str, at: float) -> bool:
        ending = self.endings.get(model)
        return ending is not None and ending.retired_at is not None and at >= ending.retired_at


def load_names(db: Database) -> ModelNames:
    """As cellule.db has it now."""
    aliases = {DEFAULT_ALIAS: DEMO_MODEL_NAME, **dict(db.execute("SELECT alias, model FROM model_aliases"))}
    by_entry = dict(db.execute("SELECT entry, name FROM models WHERE entry <> '' ORDER BY added_at"))
    rows = db.execute(
        """SELECT name, deprecated_at, retired_at, successor FROM models
        WHERE deprecated_at IS NOT NULL OR retired_at IS NOT NULL"""
    )
    endings = {
        name: Ending(deprecated_at, retired_at, by_entry.get(successor, successor))
        for name, deprecated_at, retired_at, successor in rows
    }
    rows = db.execute("SELECT name, coalesce(json_extract(facts, '$.kind'), 'text') FROM models")
    held = {name: Kind(kind) if kind in set(Kind) else Kind.TEXT for name, kind in rows}
    return ModelNames(aliases, endings, held, read_unloadable(db))


def _warning(ending: Ending) -> Headers:
    headers: Headers = [(b"deprecation", b"@%d" % int(ending.deprecated_at or 0))]
    if ending.retired_at is not None:
        headers.append((b"sunset", formatdate(ending.retired_at, usegmt=True).encode()))
    if ending.successor:
        link = f'</v1/models/{quote(ending.successor, safe="")}>; rel="successor-version"'
        headers.append((b"link", link.encode()))
    return headers
