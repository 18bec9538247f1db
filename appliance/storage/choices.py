"""What admins chose for the box: one record per subject, each a pydantic model with a default for everything.

A subject is a class: `read_choice(db, UpdateChoice)` is what was chosen, or the defaults. Readers that keep
a choice in memory look at `data_version`. A record that an older version doesn't know is left alone; a
field that it doesn't know is ignored, so the other slot can read what this one wrote.
"""

import re
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from sqlite_utils import Database

from appliance.clock import now


class Choice(BaseModel):
    """A subject of choice. Every field needs a default: the box works before anybody chose."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


_C = TypeVar("_C", bound=Choice)


def read_choice(db: Database, kind: type[_C]) -> _C:
    """What was chosen, or the defaults. Raises pydantic.ValidationError if a record can't be `kind`'s."""
    row = db.execute("SELECT value FROM choices WHERE subject = ?", [_subject(kind)]).fetchone()
    return kind.model_validate_json(row[0]) if row else kind()


def write_choice(db: Database, choice: Choice, *, chosen_by: str | None) -> None:
    """Replaces the record; `chosen_by` is an account's id, None for the box itself."""
    db.execute(
        """INSERT INTO choices (subject, value, chosen_at, chosen_by) VALUES (?, ?, ?, ?)
        ON CONFLICT (subject) DO UPDATE SET
            value = excluded.value, chosen_at = excluded.chosen_at, chosen_by = excluded.chosen_by""",
        [_subject(type(choice)), choice.model_dump_json(), now(), chosen_by],
    )


def _subject(kind: type[Choice]) -> str:
    """UpdateChoice → update_choice: the class's name is the record's, and must not change once shipped."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
