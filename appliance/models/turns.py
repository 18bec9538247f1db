"""Which gets are at work in this process: a few at once, so that a small model needn't wait for a large one.

One for each medium, which is mounted for one reader; one conversion, which takes the memory of a whole model.
Room is promised to one get at a time and counted with what the others still need: two never take the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from appliance.models.gets import CarriedOrder, Get
from appliance.models.store import Store, bytes_in

MOST_AT_ONCE = 3


@dataclass(frozen=True)
class Room:
    """What a get needs: `disk_bytes` at its widest, all told; `model_bytes` for good."""

    folder: Path
    model_bytes: int
    disk_bytes: int

    @property
    def to_come_bytes(self) -> int:
        """What does not lie in the get's folder yet."""
        return max(0, self.disk_bytes - bytes_in(self.folder))


@dataclass
class _Begun:
    medium: str
    room: Room | None = None


class Turns:
    """One in each process that follows gets; used by all of its threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._claimed = set[int]()
        self._begun: dict[int, _Begun] = {}
        self._converter = Lock()

    @contextmanager
    def claimed(self, get: Get) -> Iterator[bool]:
        """Whether it is ours meanwhile; else another thread is at it."""
        with self._lock:
            is_ours = get.id not in self._claimed
            self._claimed.add(get.id)
        try:
            yield is_ours
        finally:
            if is_ours:
                with self._lock:
                    self._claimed.remove(get.id)

    @contextmanager
    def begun(self, get: Get) -> Iterator[bool]:
        """Whether it may be at work meanwhile, beside those that are."""
        medium = get.order.origin if isinstance(get.order, CarriedOrder) else ""
        with self._lock:
            is_taken = bool(medium) and any(medium == each.medium for each in self._begun.values())
            may_begin = not is_taken and len(self._begun) < MOST_AT_ONCE
            if may_begin:
                self._begun[get.id] = _Begun(medium)
        try:
            yield may_begin
        finally:
            if may_begin:
                with self._lock:
                    del self._begun[get.id]

    @contextmanager
    def converter(self) -> Iterator[bool]:
        """Whether it is ours meanwhile."""
        is_ours = self._converter.acquire(blocking=False)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._converter.release()

    @property
    def is_converting(self) -> bool:
        return self._converter.locked()

    def promise_room(self, store: Store, get: Get, room: Room) -> None:
        """For a get that has begun. Raises StoreFull."""
        with self._lock:
            others = [each.room for number, each in self._begun.items() if each.room and number != get.id]
            store.require_room(
                room.model_bytes,
                room.to_come_bytes,
                others_model_bytes=sum(each.model_bytes for each in others),
                others_to_come_bytes=sum(each.to_come_bytes for each in others),
            )
            self._begun[get.id].room = room

    def take_room(self, get: Get) -> None:
        """It lies in the store from now on and is counted there."""
        with self._lock:
            self._begun[get.id].room = None


turns = Turns()
