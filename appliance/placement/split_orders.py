"""A plan for a split model carried to the workers: who lends what from now on, and who was lost.

A worker hears of it with its next report and keeps whatever else was decided for it.
"""

from collections.abc import Iterable, Mapping

from sqlite_utils import Database

from appliance.enrolment.contract import DesiredPart, PartReport
from appliance.enrolment.rules import ordinary_wish
from appliance.enrolment.wishes import Wish, set_wish, wish_for
from appliance.placement.sharding import SplitPlan


def order_parts(db: Database, workers: Iterable[str], plans: Iterable[SplitPlan]) -> None:
    """Each of `workers` lends what one of `plans` says, and nothing where none names it.

    A worker has one part at most: of two plans that name it, the later one is followed.
    """
    memory = {part.node: part.memory_bytes for plan in plans for part in plan.parts}
    for worker in workers:
        known = wish_for(db, worker)
        wanted = with_part(known or ordinary_wish(), memory.get(worker))
        if wanted != (known or ordinary_wish()):
            set_wish(db, worker, wanted)


def with_part(wish: Wish, memory_bytes: int | None) -> Wish:
    """The same wish with another part, or none."""
    part = None if memory_bytes is None else DesiredPart(memory_bytes=memory_bytes)
    return wish.model_copy(update={"part": part})


def lost_parts(plan: SplitPlan, reports: Mapping[str, PartReport | None]) -> tuple[str, ...]:
    """The nodes of `plan` whose part is not there; `reports` are those of workers that were heard of late.

    A part that has ended and is ready again is not lost: the head starts anew with the same plan.
    """
    return tuple(
        part.node
        for part in plan.parts
        if (report := reports.get(part.node)) is None
        or not report.ready
        or report.memory_bytes < part.memory_bytes
    )
