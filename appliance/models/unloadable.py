"""Models that lie on the box and that no node can load, each with why: what requests for them are told.

Written by placement when somebody waits for such a model, and again when that changes; the pool has it in
memory with the models' names. It lives in cellule.db, where a change is noticed at once, and changes rarely.
"""

from collections.abc import Mapping

from pydantic import Field
from sqlite_utils import Database

from appliance.storage import Choice, read_choice, write_choice


class UnloadableModels(Choice):
    """By model, a sentence."""

    reasons: dict[str, str] = Field(default_factory=dict)


def read_unloadable(db: Database) -> Mapping[str, str]:
    return read_choice(db, UnloadableModels).reasons


def keep_unloadable(db: Database, reasons: Mapping[str, str]) -> None:
    """Safe to repeat: what is recorded already is not written again."""
    if read_unloadable(db) != reasons:
        write_choice(db, UnloadableModels(reasons=dict(reasons)), chosen_by=None)
