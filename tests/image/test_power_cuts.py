"""Ten power cuts spread over one install: from each the box comes up, with the old release or the new one.

One install is watched, and the disk is kept as it was at many moments of it. Ten of them are then started,
each as a machine of its own: what it finds on its disk is what a cut at that moment would have left.
"""

import re
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from tests.image.box import Box
from tests.image.channel_server import ChannelServer
from tests.image.conftest import FIRST_VERSION, Works
from tests.image.disk_state import copy_state, keep_state, kernels_in
from tests.image.office import Office
from tests.image.releases import change_a_line, choose_channel, history_of, order, publish
from tests.image.visitor import Visitor

pytestmark = pytest.mark.timeout(2400)

NEW = "1.1.0"
CUTS = 10
EVERY_SECONDS = 1.5
LAST_SECONDS = 20.0
"""In these the root is there, and the slot is made one that can be started: the hook of the bundle."""
AT_ONCE = 2
START_SECONDS = 600.0
MOST_STATES = 200
Item = TypeVar("Item")


@dataclass(frozen=True)
class Moment:
    """The disk as it was `seconds` after the order; `step` is the installer's word for what it did."""

    seconds: float
    step: str
    state: Path


def test_wherever_the_power_is_cut_the_box_comes_up_with_its_data(
    claimed: Box, works: Works, channel: ChannelServer, tmp_path: Path
) -> None:
    works.make(NEW, change_a_line)
    publish(works, channel.folder, NEW)
    with Visitor(claimed) as ada:
        ada.sign_in()
        key = ada.make_key("Made before the cut")
        choose_channel(ada, channel.url)
        order(claimed, ada, NEW, restart="window")
        moments = watch_the_install(claimed, ada)
        assert "installed, waits for a restart" in history_of(ada.http.get("/updates").text, NEW)
    claimed.pull_the_cord()

    cuts = ten_of(moments)
    start = partial(start_after_cut, claimed, works, tmp_path, key)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        came_up = list(pool.map(start, cuts))
    assert came_up[0] == f"{FIRST_VERSION}, slot a"
    assert came_up[-1] == f"{NEW}, slot b"
    assert came_up == sorted(came_up), "once the new release can be started, it stays so"


def watch_the_install(box: Box, ada: Visitor) -> list[Moment]:
    """The disk at many moments from the order until it is done, and once more then."""
    moments, began = list[Moment](), time.monotonic()
    step = "ordered"
    while step:
        seconds = time.monotonic() - began
        moments.append(Moment(seconds, step, keep_state(box)))
        assert len(moments) < MOST_STATES, "the install does not end"
        time.sleep(max(0.0, began + len(moments) * EVERY_SECONDS - time.monotonic()))
        step = ada.http.get("/updates.json").json()["cells"].get("step", "")
    return [*moments, Moment(time.monotonic() - began, "installed", keep_state(box))]


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


def start_after_cut(box: Box, works: Works, scratch: Path, key: str, cut: Moment) -> str:
    """Starts a machine from the disk of that moment; which release it came up with, its data being whole."""
    folder = scratch / f"after-{cut.seconds:.1f}-seconds"
    copy_state(box, cut.state, folder)
    with Office("pc") as office:
        office.open_for_business()
        machine = Box(office, folder, works.disk)
        machine.start()
        try:
            machine.wait_for_console("cellule-demo answers", START_SECONDS)
            came_up = str(re.findall(r"\d+\.\d+\.\d+, slot [ab]", machine.screen)[-1])
            with Visitor(machine) as ada:
                ada.sign_in()
                assert "Made before the cut" in ada.http.get("/keys").text
                answer, _ = ada.ask(key, "What is Cellule?")
                assert answer
                told = history_of(ada.http.get("/updates").text, NEW)
        finally:
            machine.pull_the_cord()
            shutil.rmtree(folder)
    print(
        f"cut after {cut.seconds:.1f} s ({cut.step}), with {sorted(kernels_in(box, cut.state))}:"
        f" came up with {came_up} after {time.monotonic() - machine.started_at:.0f} s; told: {told}"
    )
    return came_up
