"""What a plan changes for the workers: their part, and nothing else of what was decided for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.enrolment.contract import DesiredEngine
from appliance.enrolment.rules import ordinary_wish
from appliance.enrolment.wishes import Wish, set_wish, wish_for
from appliance.placement.sharding import PlannedPart, SplitPlan
from appliance.placement.split_orders import order_parts
from appliance.storage import open_cellule

PLAN = SplitPlan(
    "m", 2, (PlannedPart("a", "A", 4, 50_000_000), PlannedPart("b", "B", 4, 60_000_000)), 9.0, ()
)
OTHER = SplitPlan("m", 2, (PlannedPart("b", "B", 8, 90_000_000),), 8.0, ())


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_cellule(tmp_path) as db:
        yield db


def lent(db: Database, worker: str) -> int | None:
    wish = wish_for(db, worker)
    return wish.part.memory_bytes if wish and wish.part else None


def test_a_worker_lends_what_the_plan_says_and_keeps_its_engines(db: Database) -> None:
    own = Wish(engines=(DesiredEngine(model="small", slots=2),))
    set_wish(db, "a", own)
    order_parts(db, ["a", "b", "c"], [PLAN])
    assert [lent(db, worker) for worker in "abc"] == [50_000_000, 60_000_000, None]
    kept = [wish.engines for worker in "ab" if (wish := wish_for(db, worker))]
    assert kept == [own.engines, ordinary_wish().engines]
    assert wish_for(db, "c") is None


def test_another_plan_takes_back_what_the_first_one_borrowed(db: Database) -> None:
    order_parts(db, ["a", "b"], [PLAN])
    order_parts(db, ["a", "b"], [OTHER])
    assert [lent(db, worker) for worker in "ab"] == [None, 90_000_000]
    order_parts(db, ["a", "b"], [])
    assert [lent(db, worker) for worker in "ab"] == [None, None]
    assert wish_for(db, "a") == ordinary_wish()


def test_the_same_plan_again_writes_nothing(db: Database) -> None:
    order_parts(db, ["a", "b"], [PLAN])
    before = list(db["worker_wishes"].rows)
    order_parts(db, ["a", "b"], [PLAN])
    assert list(db["worker_wishes"].rows) == before
