"""Ten power cuts spread over one install: from each the box comes up, with the old release or the new one.

The install was watched, and the disk kept as it was at many moments of it. Ten of them are started here, each
as a machine of its own: what it finds on its disk is what a cut at that moment would have left.
"""

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from tests.image.box import Box
from tests.image.disk_state import copy_state, kernels_in
from tests.image.office import Office
from tests.image.releases import history_of
from tests.image.visitor import Visitor
from tests.image.watched_install import Moment, Updated
from tests.image.works import FIRST_VERSION, Works

pytestmark = pytest.mark.timeout(2400)

CUTS = 10
LAST_SECONDS = 20.0
"""In these the root is there, and the slot is made one that can be started: the hook of the bundle."""
START_SECONDS = 600.0
SETTLED_SECONDS = 180.0
Item = TypeVar("Item")


def test_wherever_the_power_is_cut_the_box_comes_up_with_its_data(
    updated: Updated, works: Works, tmp_path: Path
) -> None:
    came_up = [start_after_cut(updated, works, tmp_path, cut) for cut in ten_of(updated.moments)]
    assert came_up[0] == f"{FIRST_VERSION}, slot a"
    assert came_up[-1] == f"{updated.version}, slot b"
    assert came_up == sorted(came_up), "once the new release can be started, it stays so"


def ten_of(moments: list[Moment]) -> list[Moment]:
    """Half of them spread over the last seconds, half over the time before."""
    begins = moments[-1].seconds - LAST_SECONDS
    before = [moment for moment in moments if moment.seconds < begins]
    last = [moment for moment in moments if moment.seconds >= begins]
    return [*spread(before, CUTS // 2), *spread(last, CUTS - CUTS // 2)]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many of them at equal distances, with the first and the last."""
    assert len(items) >= count
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]


def start_after_cut(updated: Updated, works: Works, scratch: Path, cut: Moment) -> str:
    """Starts a machine from the disk of that moment; which release it came up with, its data being whole."""
    folder = scratch / f"after-{cut.seconds:.1f}-seconds"
    copy_state(updated.frozen, cut.state, folder)
    with Office("pc") as office:
        office.open_for_business()
        machine = Box(office, folder, works.disk)
        machine.start()
        try:
            machine.wait_for_console("cellule-demo answers", START_SECONDS)
            came_up = str(re.findall(r"\d+\.\d+\.\d+, slot [ab]", machine.screen)[-1])
            with Visitor(machine) as ada:
                ada.sign_in()
                assert "Made before the update" in ada.http.get("/keys").text
                answer, _ = ada.ask(updated.key, "What is Cellule?")
                assert answer
                told = told_in_the_end(machine, ada, updated.version)
        finally:
            machine.pull_the_cord()
            shutil.rmtree(folder)
    print(
        f"cut after {cut.seconds:.1f} s ({cut.step}), with {sorted(kernels_in(updated.frozen, cut.state))}:"
        f" came up with {came_up} after {time.monotonic() - machine.started_at:.0f} s; told: {told}"
    )
    return came_up


def told_in_the_end(machine: Box, ada: Visitor, version: str) -> str:
    """What the history says of the install that was cut off, once the box has seen how far it came."""
    told: list[str] = []

    def is_settled() -> bool:
        told.append(history_of(ada.http.get("/updates").text, version))
        return "being installed" not in told[-1]

    machine.wait_until(is_settled, "the history knows how the install ended", SETTLED_SECONDS)
    return told[-1]
