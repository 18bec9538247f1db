"""A worker's part of a split model as a process of its own: started, started again, replaced, ended."""

import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import psutil
import pytest

from appliance.engines.endings import KILLED
from appliance.enrolment.contract import DesiredPart, PartReport
from appliance.worker.lent_part import LentPart
from tests.waiting import wait_until

LENT = DesiredPart(memory_bytes=20_000_000)


@pytest.fixture
def part() -> Iterator[LentPart]:
    # an address of loopback that no other run has: the port is always the same
    part = LentPart(IPv4Address(f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.9"))
    yield part
    part.stop()


def process() -> psutil.Process:
    (found,) = (
        one
        for one in psutil.Process().children()
        if one.is_running()
        and one.status() != psutil.STATUS_ZOMBIE
        and "appliance.engines.sharding" in one.cmdline()
    )
    return found


def ready(part: LentPart) -> PartReport:
    def report() -> PartReport | None:
        part.tend()
        told = part.report()
        return told if told and told.ready else None

    return wait_until(report, within_seconds=30, what="the part is ready")


def test_nothing_is_lent_until_the_box_wants_it(part: LentPart) -> None:
    assert not part.tend()
    assert part.report() is None


def test_it_says_once_that_it_has_become_ready(part: LentPart) -> None:
    part.apply(LENT)
    told = part.report()
    assert told is not None and not told.ready
    wait_until(part.tend, within_seconds=30, what="the part says that it is ready")
    assert not part.tend()
    assert ready(part).memory_bytes == LENT.memory_bytes


def test_the_same_wish_again_changes_nothing_and_another_one_replaces_it(part: LentPart) -> None:
    part.apply(LENT)
    ready(part)
    first = process().pid
    part.apply(LENT)
    assert process().pid == first
    part.apply(DesiredPart(memory_bytes=30_000_000))
    assert ready(part).memory_bytes == 30_000_000
    assert process().pid != first
    part.apply(None)
    assert part.report() is None
    assert not [one for one in psutil.Process().children() if "appliance.engines.sharding" in one.cmdline()]


def test_a_part_that_died_is_told_and_comes_back(part: LentPart) -> None:
    part.apply(LENT)
    ready(part)
    first = process()
    first.kill()
    wait_until(lambda: part.tend() or "SIGKILL" in trouble(part), within_seconds=10, what="its end is told")
    assert trouble(part) == f"It ended by signal SIGKILL: {KILLED}"
    assert ready(part).trouble == ""
    assert process().pid != first.pid


def test_a_device_that_is_not_there_is_told_and_tried_ever_more_seldom(part: LentPart) -> None:
    part.apply(DesiredPart(memory_bytes=20_000_000, device="CUDA7"))
    wait_until(lambda: part.tend() or trouble(part), within_seconds=30, what="it is told")
    said = "It ended with status 1: There is no device 'CUDA7' here. There is: CPU"
    assert trouble(part).startswith(said)
    report = part.report()
    assert report is not None and not report.ready


def trouble(part: LentPart) -> str:
    report = part.report()
    assert report is not None
    return report.trouble
