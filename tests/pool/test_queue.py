"""The queue as a structure: bounded, fair between callers, honest about places."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pool.queue import FairQueue, QueueFull, Ticket


def serve_all(queue: FairQueue[int], model: str = "m") -> list[Ticket[int]]:
    served: list[Ticket[int]] = []

    def take(ticket: Ticket[int]) -> bool:
        served.append(ticket)
        return True

    queue.serve(model, take)
    return served


def test_callers_take_turns() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for number in range(5):
        queue.join(Ticket("m", "busy", number))
    assert queue.join(Ticket("m", "other", 99)) == 2  # one of the busy caller's five is before it, not five
    assert [ticket.waiter for ticket in serve_all(queue)] == [0, 99, 1, 2, 3, 4]


def test_models_do_not_wait_for_each_other() -> None:
    queue: FairQueue[int] = FairQueue(100)
    queue.join(Ticket("big", "a", 1))
    queue.join(Ticket("small", "a", 2))
    assert [ticket.waiter for ticket in serve_all(queue, "small")] == [2]
    assert queue.models() == ["big"]


def test_a_full_queue_refuses_but_never_one_that_was_in_service() -> None:
    queue: FairQueue[int] = FairQueue(1)
    queue.join(Ticket("m", "a", 1))
    with pytest.raises(QueueFull) as refused:
        queue.join(Ticket("m", "b", 2))
    assert refused.value.retry_after_seconds > 0
    assert queue.join(Ticket("m", "b", 3), front=True) == 1
    assert [ticket.waiter for ticket in serve_all(queue)] == [3, 1]


def test_a_declined_ticket_stays_first() -> None:
    queue: FairQueue[int] = FairQueue(10)
    queue.join(Ticket("m", "a", 1))
    queue.serve("m", lambda ticket: False)
    assert len(queue) == 1 and queue.waiting_for("m")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_nothing_is_lost_and_nobody_is_overtaken_twice(steps: list[tuple[str, bool]]) -> None:
    queue: FairQueue[int] = FairQueue(1000)
    waiting: list[Ticket[int]] = []
    for number, (caller, leaves) in enumerate(steps):
        ticket = Ticket("m", caller, number)
        place = queue.join(ticket)
        waiting.append(ticket)
        assert 1 <= place <= len(waiting)
        if leaves:
            gone = waiting.pop(len(waiting) // 2)
            queue.leave(gone)
    served = serve_all(queue)
    assert Counter(served) == Counter(waiting) and len(queue) == 0 and not queue.waiting_for("m")
    for caller in "abc":
        own = [ticket.waiter for ticket in served if ticket.caller_id == caller]
        assert own == sorted(own)
    for index in range(len(served)):  # between two turns of a caller each waiting one has at most one
        turns = Counter(ticket.caller_id for ticket in served[: index + 1])
        still = {ticket.caller_id for ticket in served[index + 1 :]}
        assert all(turns[caller] >= max(turns.values()) - 1 for caller in still)
