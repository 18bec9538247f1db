"""A claimed box that nobody uses, on a LAN of its own, with somebody who listens: see test_silence.

It needs next to nothing of the machine: other tests run meanwhile, in a lane of their own.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.image.box import Box, Frozen
from tests.image.listening import Eavesdropper
from tests.image.office import Office
from tests.image.visitor import Visitor

_SETTLED_SECONDS = 10.0


@dataclass(frozen=True)
class LeftAlone:
    """`since` is of time.monotonic: when the last conversation with it was over."""

    box: Box
    ear: Eavesdropper
    since: float

    @property
    def idle_seconds(self) -> float:
        return time.monotonic() - self.since


@contextmanager
def leave_alone(frozen: Frozen, disk: Path, folder: Path) -> Iterator[LeftAlone]:
    """Goes on from a claimed box, lets it answer once, and leaves."""
    with Office("pc") as office:
        office.open_for_business()
        box = Box(office, folder, disk, frozen=frozen)
        with Eavesdropper(office, box.mac) as ear:
            try:
                box.start()
                with Visitor(box) as ada:
                    ada.sign_in()
                    ada.ask(ada.make_key("once"), "What is Cellule?")
                # its last packet to a visitor, and what belongs to the end of a start
                box.wait_until(lambda: ear.quiet_seconds() > _SETTLED_SECONDS, "all conversations are over")
                yield LeftAlone(box, ear, time.monotonic())
            finally:
                box.pull_the_cord()
