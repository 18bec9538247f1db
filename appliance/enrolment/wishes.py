"""Which engines and models each worker should have, as placement decided: one record each."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict
from sqlite_utils import Database

from appliance.clock import now
from appliance.enrolment.contract import DesiredEngine, DesiredPart
from appliance.models.bundle import Bundle


class Wish(BaseModel):
    """`models` are held ready beside those that `engines` name."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    engines: tuple[DesiredEngine, ...] = ()
    models: tuple[Bundle, ...] = ()
    part: DesiredPart | None = None
    """Memory that it lends to a split model."""


def set_wish(db: Database, worker_id: str, wish: Wish) -> None:
    """Replaces what the worker should have; it hears of it with its next report."""
    db.execute(
        "INSERT INTO worker_wishes (worker, wish, at) VALUES (?, ?, ?)"
        " ON CONFLICT (worker) DO UPDATE SET wish = excluded.wish, at = excluded.at",
        [worker_id, wish.model_dump_json(), now()],
    )


def forget_wishes(db: Database, is_here: Callable[[Bundle], bool]) -> None:
    """Drops wishes for files that the box no longer has: those workers are as where nothing was decided."""
    for worker, text in db.execute("SELECT worker, wish FROM worker_wishes").fetchall():
        wish = Wish.model_validate_json(text)
        bundles = [*wish.models, *(engine.bundle for engine in wish.engines if engine.bundle)]
        if not all(map(is_here, bundles)):
            db.execute("DELETE FROM worker_wishes WHERE worker = ?", [worker])


def wish_for(db: Database, worker_id: str) -> Wish | None:
    """None where nothing was decided for this worker."""
    row = db.execute("SELECT wish FROM worker_wishes WHERE worker = ?", [worker_id]).fetchone()
    return None if row is None else Wish.model_validate_json(row[0])
