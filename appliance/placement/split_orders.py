"""A plan for a split model carried to the workers: who lends what from now on.

A worker hears of it with its next report and keeps whatever else was decided for it.
"""

from collections.abc import Iterable

from sqlite_utils import Database

from appliance.enrolment.contract import DesiredPart
from appliance.enrolment.rules import ordinary_wish
from appliance.enrolment.wishes import Wish, set_wish, wish_for
from appliance.placement.sharding import SplitPlan
from appliance.storage import transaction


def order_parts(db: Database, workers: Iterable[str], plans: Iterable[SplitPlan]) -> None:
    """Each of `workers` lends what one of `plans` says, and nothing where none names it.

    A worker has one part at most: of two plans that name it, the later one is followed.
    """
    memory = {part.node: part.memory_bytes for plan in plans for part in plan.parts}
    for worker in workers:
        if _with_part(db, worker, memory.get(worker)) is None:
            continue
        with transaction(db):  # placement.leading writes the same wishes
            if wanted := _with_part(db, worker, memory.get(worker)):
                set_wish(db, worker, wanted)


def _with_part(db: Database, worker: str, memory_bytes: int | None) -> Wish | None:
    """The wish as it should be; None where it is so."""
    known = wish_for(db, worker) or ordinary_wish()
    wanted = with_part(known, memory_bytes)
    return wanted if wanted != known else None


def with_part(wish: Wish, memory_bytes: int | None) -> Wish:
    """The same wish with another part, or none."""
    part = None if memory_bytes is None else DesiredPart(memory_bytes=memory_bytes)
    return wish.model_copy(update={"part": part})
