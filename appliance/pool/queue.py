"""Second step: the bounded queue, fair between callers.

Each model has its own line, for a request must not wait behind one for another model. In a line the
callers take turns: a caller with a hundred requests delays another's single one by at most one turn.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from appliance.errors import TryAgain

Waiter = TypeVar("Waiter")


class QueueFull(TryAgain):
    code = "queue_full"


@dataclass(frozen=True, eq=False)
class Ticket(Generic[Waiter]):
    """One place in the queue."""

    model: str
    caller_id: str
    waiter: Waiter


class FairQueue(Generic[Waiter]):
    """At most `limit` tickets over all models."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._length = 0
        self._lines: dict[str, OrderedDict[str, deque[Ticket[Waiter]]]] = {}

    def __len__(self) -> int:
        return self._length

    def waiting_for(self, model: str) -> bool:
        return model in self._lines

    def models(self) -> list[str]:
        """The models that someone waits for."""
        return list(self._lines)

    def lengths(self) -> dict[str, int]:
        """How many wait for each model."""
        return {model: sum(map(len, line.values())) for model, line in self._lines.items()}

    def join(self, ticket: Ticket[Waiter], *, front: bool = False) -> int:
        """Adds a ticket and returns its place, 1 being the next. `front` is for a request that was in
        service already and lost its node. Raises QueueFull."""
        if self._length >= self.limit and not front:
            raise QueueFull(
                f"The queue is full: {self._length} requests are waiting.",
                retry_after_seconds=5,
                next_step="Repeat the request later.",
            )
        line = self._lines.setdefault(ticket.model, OrderedDict())
        own = line.setdefault(ticket.caller_id, deque())
        if front:
            own.appendleft(ticket)
            line.move_to_end(ticket.caller_id, last=False)
        else:
            own.append(ticket)
        self._length += 1
        # when this ticket's turn comes, every other caller had as many turns as this one
        return 1 if front else sum(min(len(theirs), len(own)) for theirs in line.values())

    def leave(self, ticket: Ticket[Waiter]) -> None:
        """Takes a ticket out, if it still waits."""
        line = self._lines.get(ticket.model, OrderedDict())
        if ticket in line.get(ticket.caller_id, ()):
            line[ticket.caller_id].remove(ticket)
            self._taken(line, ticket)

    def serve(self, model: str, grant: Callable[[Ticket[Waiter]], bool | None]) -> None:
        """Offers the tickets of a model in fair order to `grant`, until it declines one.

        None from `grant` means that what is free does not suit this ticket: it keeps its place, and the
        next caller's is offered.
        """
        passed: set[str] = set()
        while (line := self._lines.get(model)) is not None:
            caller_id = next((one for one in line if one not in passed), None)
            if caller_id is None:
                return
            ticket = line[caller_id][0]
            granted = grant(ticket)
            if granted is None:
                passed.add(caller_id)
                continue
            if not granted:
                return
            line[caller_id].popleft()
            line.move_to_end(caller_id)
            self._taken(line, ticket)

    def _taken(self, line: OrderedDict[str, deque[Ticket[Waiter]]], ticket: Ticket[Waiter]) -> None:
        self._length -= 1
        if not line[ticket.caller_id]:
            del line[ticket.caller_id]
            if not line:
                del self._lines[ticket.model]
