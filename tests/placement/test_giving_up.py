"""A way whose engine ends whenever it is loaded is given up for a while, and another one taken."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.clock import now
from appliance.engines.tending import read_engine_states
from appliance.hardware import MachineFacts, keep_hardware
from appliance.placement import follow_plan, lead, read_placement
from appliance.placement.contract import Running
from appliance.placement.following import plan_of_box
from appliance.placement.giving_up import (
    FAILED_LOADS,
    MOST_RETRY_SECONDS,
    RETRY_SECONDS,
    FailedWay,
    WayKey,
    after_reports,
    given_up,
    machine_as_of,
    without_given_up,
)
from appliance.placement.planning import plan
from appliance.settings import BOX_NODE
from tests.hardware.test_recorded_machines import MACHINES
from tests.models.conftest import ModelBox
from tests.placement.fleets import LLAMA, cpu, demand, gpu, model, node
from tests.placement.test_leading import box, bring, running, tending  # noqa: F401 fixtures
from tests.waiting import wait_until

PC = node("pc", cpu(16, gb_per_second=80), gpu())
SMALL = model("small", 4)
MACHINES_NOW = {"pc": "1.0; linux 6.8; driver 550"}
FAILING = Running(
    "pc", "small", "small-gguf", LLAMA, "cuda", 4, 8192,
    ready=False, failed_loads=FAILED_LOADS, last_end="signal SIGSEGV",
)  # fmt: skip
NONE: dict[WayKey, FailedWay] = {}


def test_the_plan_takes_another_way_and_says_why() -> None:
    assert plan([PC], [SMALL], demand=[demand("small")]).on("pc")[0].way.device == "cuda"
    kept = after_reports(NONE, [FAILING], MACHINES_NOW, 1000.0)
    ways = given_up(kept.values(), MACHINES_NOW, 1000.0)
    [placed] = plan([PC], [SMALL], demand=[demand("small")], given_up=ways).on("pc")
    assert placed.way.device == "CPU"
    assert (
        "llama.cpp on cuda is given up for now: its engine ended 3 times in a row while it was loaded"
        " (signal SIGSEGV), and is tried again after 1 h or when the machine changes." in placed.because
    )
    assert without_given_up([FAILING], ways) == ()
    alone = plan([replace(PC, ways=(gpu(),))], [SMALL], demand=[demand("small")], given_up=ways)
    assert "is given up for now" in alone.unplaced[0].because


def test_another_model_still_goes_there() -> None:
    kept = after_reports(NONE, [FAILING], MACHINES_NOW, 1000.0)
    ways = given_up(kept.values(), MACHINES_NOW, 1000.0)
    [placed] = plan([PC], [model("other", 4)], demand=[demand("other")], given_up=ways).on("pc")
    assert placed.way.device == "cuda"


def test_one_end_is_an_accident_and_a_start_that_succeeds_forgives_all() -> None:
    assert after_reports(NONE, [replace(FAILING, failed_loads=FAILED_LOADS - 1)], MACHINES_NOW, 1.0) == {}
    kept = after_reports(NONE, [FAILING], MACHINES_NOW, 1.0)
    assert after_reports(kept, [replace(FAILING, ready=True, failed_loads=0)], MACHINES_NOW, 2.0) == {}


def test_it_is_tried_again_later_each_time() -> None:
    kept, at, waits = NONE, 0.0, []
    for _ in range(8):
        kept = after_reports(kept, [FAILING], MACHINES_NOW, at)
        assert after_reports(kept, [FAILING], MACHINES_NOW, at + 60) == kept, "still the same trouble"
        [way] = kept.values()
        waits.append(way.retry_seconds)
        assert given_up([way], MACHINES_NOW, at + way.retry_seconds - 1)
        at += way.retry_seconds
        assert not given_up([way], MACHINES_NOW, at)
    assert waits[:3] == [RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS]
    assert waits[-1] == MOST_RETRY_SECONDS


def test_it_is_tried_at_once_when_the_machine_is_another() -> None:
    facts = MachineFacts.model_validate_json((MACHINES / "rtx-3060-pc.json").read_text())
    [card, *rest] = [each for each in facts.devices if each.driver == "nvidia"]
    newer = facts.model_copy(
        update={"devices": (card.model_copy(update={"driver_version": "580.65.06"}), *rest)}
    )
    before, after = ({"pc": machine_as_of(each, "1.0")} for each in (facts, newer))
    kept = after_reports(NONE, [FAILING], before, 0.0)
    assert given_up(kept.values(), before, 60.0) and not given_up(kept.values(), after, 60.0)
    assert after_reports(kept, [FAILING], after, 120.0)["pc", "small-gguf", LLAMA, "cuda"].times == 1


@pytest.mark.usefixtures("tending")
def test_a_box_whose_card_does_not_work_serves_by_its_processor(
    box: ModelBox,  # noqa: F811 a fixture
    tmp_path: Path,
) -> None:
    """The record says that there is a card, and here is none: the real engine ends at each start."""
    facts = MachineFacts.model_validate_json((MACHINES / "rtx-3060-pc.json").read_text())
    keep_hardware(box.activity, BOX_NODE, facts, now())
    bring(box, tmp_path, "noise")
    follow_plan(box.settings)
    lead(box.settings)
    [applied] = plan_of_box(box.settings, box.db, box.activity).plan.on(BOX_NODE)
    assert applied.way.name == "llama.cpp on cuda"

    def has_failed() -> bool:
        states = read_engine_states(box.settings).engines
        return any(state.failed_loads >= FAILED_LOADS for state in states)

    wait_until(has_failed, within_seconds=60, what="it ended three times")
    lead(box.settings)
    assert "applied a plan" in follow_plan(box.settings)
    assert "load noise" in lead(box.settings)
    said = running(box, "noise")
    assert said["device"] == "CPU"
    [placed] = plan_of_box(box.settings, box.db, box.activity).plan.on(BOX_NODE)
    assert "llama.cpp on cuda is given up for now" in placed.because
    assert read_placement(box.db).pins == ()
