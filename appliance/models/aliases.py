"""Names that requests use instead of a model's own: "default", "code", "large", and those of an admin.

Moving one changes the next request's answer, nothing that runs. "default" is the model that ships until it is
moved.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlite_utils import Database

from appliance.engines.options import Kind
from appliance.errors import Refused
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.gets import unfinished_gets
from appliance.models.held import ModelUnknown, held_models
from appliance.models.names import check_name
from appliance.models.naming import DEFAULT_ALIAS, OFFERED_ALIASES
from appliance.people import AuditEvent, record_audit
from appliance.storage import transaction


class AliasRefused(Refused):
    """The alias would hide a model of that name, or stand for what can't answer those who use it."""

    code = "model_alias_refused"
    http_status = 409


@dataclass(frozen=True)
class Alias:
    """`model` is "" while nobody chose one; `moved_at` epoch seconds, None before the first move."""

    alias: str
    model: str
    moved_at: float | None = None
    moved_by: str | None = None


def list_aliases(db: Database) -> list[Alias]:
    """Those that are offered first, then those that an admin added."""
    rows = db.execute("SELECT alias, model, moved_at, moved_by FROM model_aliases ORDER BY alias")
    moved = {row[0]: Alias(*row) for row in rows}
    known = {DEFAULT_ALIAS: Alias(DEFAULT_ALIAS, DEMO_MODEL_NAME)} | moved
    offered = [known.get(name, Alias(name, "")) for name in OFFERED_ALIASES]
    return [*offered, *(alias for name, alias in moved.items() if name not in OFFERED_ALIASES)]


def move_alias(
    db: Database,
    activity: Database,
    alias: str,
    model: str,
    *,
    by: str | None,
    at: float,
    address: str | None = None,
    served: Collection[str] = (),
) -> None:
    """From now on `alias` means `model`: one of the box's, or one that is `served` by a node.

    Raises NameRefused, AliasRefused, ModelUnknown.
    """
    check_name(alias)
    with transaction(db):
        kinds = {held.name: held.kind for held in held_models(db)}
        names = {*kinds, *served}
        if alias.lower() in {name.lower() for name in names}:
            raise AliasRefused(f"There is a model {alias!r}.", next_step="Choose another name for the alias.")
        if alias.lower() in {get.name.lower() for get in unfinished_gets(activity)}:
            # the model would be refused in the end, for its name
            raise AliasRefused(
                f"A model {alias!r} is on its way already.", next_step="Choose another name for the alias."
            )
        if model not in names:
            raise ModelUnknown(
                f"No model {model[:100]!r} is on the box or served by a node.", next_step="Reload the page."
            )
        if alias in OFFERED_ALIASES and kinds.get(model, Kind.TEXT) is not Kind.TEXT:
            raise AliasRefused(
                f"{alias!r} stands for a model that chats, and {model} does not.",
                next_step="Choose another model, or another name.",
            )
        former = next((each.model for each in list_aliases(db) if each.alias == alias), "")
        db.execute(
            """INSERT INTO model_aliases (alias, model, moved_at, moved_by) VALUES (?, ?, ?, ?)
            ON CONFLICT (alias) DO UPDATE SET
                model = excluded.model, moved_at = excluded.moved_at, moved_by = excluded.moved_by""",
            [alias, model, at, by],
        )
    detail = f"from {former} to {model}" if former else f"to {model}"
    record_audit(
        activity, AuditEvent.ADMIN_ALIAS_MOVED, actor=by, address=address, subject=alias, detail=detail
    )


def remove_alias(
    db: Database, activity: Database, alias: str, *, by: str | None, address: str | None = None
) -> None:
    """Requests that name it are refused from now on; "default" is the model that ships again."""
    gone = db.execute("DELETE FROM model_aliases WHERE alias = ?", [alias]).rowcount
    if gone:
        record_audit(
            activity, AuditEvent.ADMIN_ALIAS_MOVED, actor=by, address=address, subject=alias, detail="removed"
        )
