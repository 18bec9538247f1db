"""Which models a node loads, unloads and keeps just now, so that no two fight for its memory. Pure.

A model that is giving an answer is never unloaded, nor one that is pinned; one that was just loaded stays for
a while. What is wanted is loaded where it fits, or where what has been idle longest can make way for it: then
the unloads come before the load, and nothing is unloaded that would not be enough. What is used without a
pause is drained once another is overdue, so that each has its turn. The demo model is the last resort: it
stays until another model is ready, and comes back when none is left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.placement.memory import GIB

IDLE_SECONDS = 900.0
"""So long an unplanned model stays after its last answer."""
LEAST_STAY_SECONDS = 120.0
"""Loading costs seconds to minutes: two models that take turns would do nothing else."""
OVERDUE_SECONDS = 45.0
"""A model that is waited for so long has its turn, though others are in use: at 180 s the pool refuses."""
TURN_SECONDS = 60.0
"""So long a model has been ready before it makes way for one that is overdue."""


@dataclass(frozen=True)
class Resident:
    """A model that is in memory. `idle_seconds` since its last answer, or since it was loaded."""

    model: str
    memory_bytes: int
    in_flight: int = 0
    idle_seconds: float = 0.0
    loaded_seconds: float = 1e9
    """Since it was loaded."""
    ready: bool = True
    is_demo: bool = False
    must_go: bool = False
    """An admin does not want it here."""


@dataclass(frozen=True)
class Want:
    """A model that should be in memory: by the plan, or because requests wait for it."""

    model: str
    memory_bytes: int
    pinned: bool = False
    planned: bool = False
    waiting: int = 0
    """Requests that wait for it now."""
    waited_seconds: float = 0.0
    """Since the first of them came, while no node has it."""
    is_demo: bool = False


class Move(StrEnum):
    UNLOAD = "unload"
    LOAD = "load"
    KEEP = "keep"
    DRAIN = "drain"
    """It stays until it has given its answers, and takes no new ones: then it makes way."""
    WAIT = "wait"
    """It is wanted, and can't be loaded before something else has ended."""


@dataclass(frozen=True)
class Step:
    move: Move
    model: str
    because: str


def settle(
    memory_bytes: int,
    residents: Sequence[Resident],
    wants: Sequence[Want],
    *,
    another_is_ready: bool = False,
) -> tuple[Step, ...]:
    """What to do now in one memory, unloads first; called again after each change.

    `another_is_ready`: a model other than the demo is ready in another memory of the node.
    """
    table = _Memory(memory_bytes, {each.model: each for each in residents}, _by_claim(wants))
    table.ready_elsewhere = another_is_ready
    for want in table.wants:
        if want.model not in table.there and not want.is_demo:
            table.make_room(want)
    table.drop_idle()
    table.see_to_the_demo()
    kept = [
        Step(Move.KEEP, each.model, table.why_kept(each))
        for each in table.staying()
        if each.model not in table.draining
    ]
    order = list(Move)
    return tuple(sorted([*table.steps, *kept], key=lambda step: (order.index(step.move), step.model)))


def _by_claim(wants: Iterable[Want]) -> list[Want]:
    """Pinned, then what is waited for, the longest first, then by most requests; then what is planned.

    By requests alone a model that few ask for would never have its turn.
    """

    def claim(want: Want) -> tuple[bool, bool, float, int, bool, str]:
        waits = want.waiting > 0
        waited = -want.waited_seconds if waits else 0.0
        return not want.pinned, not waits, waited, -want.waiting, not want.planned, want.model

    return sorted(wants, key=claim)


class _Memory:
    def __init__(self, memory_bytes: int, there: dict[str, Resident], wants: list[Want]) -> None:
        self.limit = memory_bytes
        self.there = there
        self.wants = wants
        self.steps: list[Step] = []
        self.leaving: set[str] = set()
        self.draining: set[str] = set()
        self.promised_bytes = 0
        """Free now, and of a model that waits for what is draining."""
        self.coming: dict[str, Want] = {}
        self.ready_elsewhere = False

    @property
    def free(self) -> int:
        taken = sum(each.memory_bytes for each in self.staying())
        coming = sum(each.memory_bytes for each in self.coming.values())
        return self.limit - taken - coming - self.promised_bytes

    def staying(self) -> list[Resident]:
        return [each for each in self.there.values() if each.model not in self.leaving]

    def want_of(self, model: str) -> Want | None:
        return next((want for want in self.wants if want.model == model), None)

    def make_room(self, want: Want) -> None:
        """Loads it if room is there or can be made, else says what it waits for."""
        victims: list[Resident] = []
        missing = want.memory_bytes - self.free
        for each in sorted(self._evictable(want), key=self._reluctance):
            if missing <= 0:
                break
            victims.append(each)
            missing -= each.memory_bytes
        if missing > 0:
            self.steps.append(Step(Move.WAIT, want.model, self._why_waiting(want)))
            return
        needed = _only_needed(victims, want.memory_bytes - self.free)
        if any(each.in_flight for each in needed):
            self._drain(needed, want)
            return
        for each in needed:
            self.leaving.add(each.model)
            why = f"It makes way for {want.model}: idle for {each.idle_seconds:.0f} s."
            self.steps.append(Step(Move.UNLOAD, each.model, why))
        self.coming[want.model] = want
        self.steps.append(Step(Move.LOAD, want.model, _why_wanted(want)))

    def _drain(self, victims: Sequence[Resident], want: Want) -> None:
        """The idle ones, too: else they would be in use again when the others have ended."""
        self.steps.append(Step(Move.WAIT, want.model, self._why_waiting(want)))
        self.promised_bytes += max(0, want.memory_bytes - sum(each.memory_bytes for each in victims))
        for each in victims:
            self.draining.add(each.model)
            why = (
                f"It makes way for {want.model}, which is waited for since {want.waited_seconds:.0f} s: "
                f"it gives {each.in_flight} answers and takes no new ones."
            )
            self.steps.append(Step(Move.DRAIN, each.model, why))

    def drop_idle(self) -> None:
        for each in self.staying():
            if self._is_wanted(each) or each.is_demo or each.model in self.draining:
                continue
            if each.must_go and each.in_flight:
                # else it would stay for as long as somebody asks without a pause
                self.draining.add(each.model)
                self.steps.append(Step(Move.DRAIN, each.model, "An admin keeps it off this node."))
            elif each.must_go:
                self.leaving.add(each.model)
                self.steps.append(Step(Move.UNLOAD, each.model, "An admin keeps it off this node."))
            elif not each.in_flight and each.idle_seconds >= IDLE_SECONDS:
                self.leaving.add(each.model)
                why = f"Nobody asked for it for {each.idle_seconds / 60:.0f} minutes, and no plan wants it."
                self.steps.append(Step(Move.UNLOAD, each.model, why))

    @property
    def has_another(self) -> bool:
        """Whether a model other than the demo is there or is coming."""
        there = any(not each.is_demo for each in self.staying())
        return there or self.ready_elsewhere or any(not each.is_demo for each in self.coming.values())

    def see_to_the_demo(self) -> None:
        ready = self.ready_elsewhere or any(each.ready and not each.is_demo for each in self.staying())
        demo = next((each for each in self.staying() if each.is_demo), None)
        stays = demo is None or demo.in_flight or self._is_pinned(demo) or demo.model in self.draining
        if demo and ready and not stays:
            self.leaving.add(demo.model)
            self.steps.append(
                Step(Move.UNLOAD, demo.model, "Another model is ready, and it is the last resort.")
            )
        want = next((each for each in self.wants if each.is_demo), None)
        if want and want.model not in self.there and (want.pinned or not self.has_another):
            self.make_room(want)

    def why_kept(self, each: Resident) -> str:
        if each.in_flight:
            return f"It is giving {each.in_flight} answers."
        want = self.want_of(each.model)
        if want:
            return _why_wanted(want)
        if each.is_demo:
            return "It is the last resort until another model is ready."
        return f"It was used {each.idle_seconds:.0f} s ago, and its memory is not needed."

    def _evictable(self, want: Want) -> list[Resident]:
        """What may make way: not what is in use, pinned, just loaded, or wanted as much. For what is overdue
        also what is in use, after its turn.

        For a mere plan nothing makes way that somebody used lately: the plan would be undone at the next turn
        of that conversation, and each turn would wait for a model to be loaded.
        """
        is_overdue = want.waiting > 0 and want.waited_seconds >= OVERDUE_SECONDS
        least_stay = TURN_SECONDS if is_overdue else LEAST_STAY_SECONDS
        is_urgent = want.waiting > 0 or want.pinned
        found = []
        for each in self.staying():
            own = self.want_of(each.model)
            claims_more = own is not None and self.wants.index(own) < self.wants.index(want)
            settling = each.loaded_seconds < least_stay
            answers = each.in_flight > 0 and not (is_overdue and each.ready and not each.is_demo)
            in_use = answers or (own is None and not is_urgent and each.idle_seconds < IDLE_SECONDS)
            stays = in_use or settling or claims_more or each.model in self.draining
            if not stays and not self._is_pinned(each):
                found.append(each)
        return found

    def _reluctance(self, each: Resident) -> tuple[bool, bool, float]:
        """What is in use makes way last."""
        return each.in_flight > 0, self._is_wanted(each), -each.idle_seconds

    def _is_wanted(self, each: Resident) -> bool:
        return self.want_of(each.model) is not None

    def _is_pinned(self, each: Resident) -> bool:
        want = self.want_of(each.model)
        return want is not None and want.pinned

    def _why_waiting(self, want: Want) -> str:
        busy = [f"{each.model} gives {each.in_flight} answers" for each in self.staying() if each.in_flight]
        pinned = [f"{each.model} is pinned" for each in self.staying() if self._is_pinned(each)]
        what = "; ".join([*busy, *pinned]) or "what is there is wanted as much"
        return (
            f"It needs {want.memory_bytes / GIB:.1f} GiB of {self.limit / GIB:.1f}, "
            f"{max(0, self.free) / GIB:.1f} are free, and {what}."
        )


def _only_needed(victims: Sequence[Resident], missing: int) -> list[Resident]:
    """Without those that the others make unnecessary: a large one found last may be enough alone."""
    needed = list(victims)
    for each in victims:
        rest = sum(one.memory_bytes for one in needed if one is not each)
        if rest >= missing:
            needed.remove(each)
    return needed


def _why_wanted(want: Want) -> str:
    if want.pinned:
        return "It is pinned here."
    if want.waiting:
        return f"{want.waiting} requests wait for it."
    return "The plan wants it here." if want.planned else "It was asked for."
