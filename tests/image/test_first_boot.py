"""The first evening of a box: plugged in, found, claimed, asked; and what it shows and hides meanwhile."""

import re
import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

import pytest

from tests.image.box import Box
from tests.image.office import Office
from tests.image.visitor import Visitor
from tests.image.works import CLAIM_CODE, FIRST_VERSION, Works

pytestmark = pytest.mark.core

OPEN_TCP = {80, 443}


@pytest.fixture(scope="module")
def box(office: Office, works: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box on a disk twice as large as the image, switched on."""
    box = Box(office, tmp_path_factory.mktemp("box"), works.disk, disk_gigabytes=6)
    box.start()
    yield box
    box.pull_the_cord()


@pytest.fixture(scope="module")
def code(box: Box) -> str:
    """The claim code, read from the console."""
    return box.wait_for_console(CLAIM_CODE)[0]


def test_the_console_shows_where_to_go_and_that_the_disk_is_not_encrypted(box: Box, code: str) -> None:
    assert code
    box.wait_for_console(re.escape(f"https://{box.address}/"))
    box.wait_for_console(r"https://cellule\.local/")
    box.wait_for_console(r"No TPM: the disk is not encrypted")
    box.wait_for_console(rf"{re.escape(FIRST_VERSION)}, slot a")


def test_the_box_is_claimed_and_answers_in_a_stream_from_outside_through_tls(box: Box, code: str) -> None:
    with Visitor(box) as ada:
        ada.claim(code)
        key = ada.make_key("Ticket system")
        answer, chunks = ada.ask(key, "What is Cellule?")
    assert len(answer.split()) > 3
    assert chunks > 3, f"one lump: {answer!r}"


def test_nothing_else_is_open(box: Box) -> None:
    address = box.address
    with box.office.inside("pc"):
        found = _open_ports(address, range(1, 65_536))
    assert found == OPEN_TCP


def test_the_console_no_longer_shows_the_code_once_claimed(box: Box, code: str) -> None:
    said = len(box.screen)
    box.type("7")  # another view and back: the whole screen is drawn again
    box.type("7")
    box.wait_for_console("slot a", since=said)
    assert code not in box.screen[said:]


def test_the_data_partition_has_grown_to_the_end_of_the_disk(box: Box) -> None:
    shown = box.wait_for_console(r"([\d.]+) GB of ([\d.]+) GB free")
    assert float(shown[2]) > 3.0


def test_the_boot_was_good_because_an_engine_answered(box: Box) -> None:
    with Visitor(box) as ada:
        ada.sign_in()
        assert ada.http.get("/health/ready").json()["ready"]
    box.wait_for_console(r"cellule-demo answers")


def test_a_power_cut_in_normal_running_costs_no_try_and_loses_nothing(box: Box) -> None:
    box.pull_the_cord()
    before = len(box.screen)
    box.start()
    box.wait_for_console(r"cellule-demo answers", since=before)
    box.wait_for_console(rf"{re.escape(FIRST_VERSION)}, slot a", since=before)
    with Visitor(box) as ada:
        ada.sign_in()
        assert "Ticket system" in ada.http.get("/keys").text


def test_the_power_button_shuts_it_down(box: Box) -> None:
    box.press_power_button()
    assert not box.is_on


def _open_ports(address: str, ports: Iterable[int], at_once: int = 500, seconds: float = 0.6) -> set[int]:
    """The TCP ports that accept. Those that are dropped never answer, so many are asked at the same time."""
    found: set[int] = set()
    for group in batched(ports, at_once):
        with ExitStack() as opened:
            poll, by_number = select.poll(), {}
            for port in group:
                probe = opened.enter_context(socket.socket())
                probe.setblocking(False)
                probe.connect_ex((address, port))
                by_number[probe.fileno()] = probe, port
                poll.register(probe, select.POLLOUT)
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0 and by_number:
                for number, _ in poll.poll(left * 1000):
                    probe, port = by_number.pop(number)
                    poll.unregister(number)
                    if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                        found.add(port)
    return found


def batched(numbers: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """As itertools.batched of Python 3.12."""
    iterator = iter(numbers)
    while group := tuple(islice(iterator, size)):
        yield group
