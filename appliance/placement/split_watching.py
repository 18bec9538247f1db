"""Which parts of a split are lost: those that were not well for long, and those on which its head fails.

A part that was started anew is back within seconds and its head fills it again, so a loss is believed only
after a while. The node of a lost part is held back for some minutes, that a shaky one does not tear the
model down again and again. What is seen is kept in memory: a core that starts anew looks anew.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from appliance.engines.tending import EngineState
from appliance.placement.splits import Split

LOST_AFTER_SECONDS = 20.0
READY_WITHIN_SECONDS = 60.0
"""A part that was just asked for: the worker hears of it with its next report, and starts it."""
HELD_BACK_SECONDS = 300.0
_ENDINGS = 4
"""A head that ended so often within HELD_BACK_SECONDS, with all its parts there, does not work with them."""


@dataclass
class _Seen:
    """Of one split: when its parts were last well, and when its head ended."""

    split: Split
    since: float
    well_at: dict[str, float] = field(default_factory=dict)
    endings: dict[float, tuple[str, ...]] = field(default_factory=dict)


class SplitWatch:
    """Times are epoch seconds, given by the caller."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._held_back: dict[str, float] = {}
        self._homeless_since: dict[str, float] = {}
        self._looked_at = float("-inf")

    def lost(self, split: Split, well: Collection[str], head: EngineState | None, at: float) -> set[str]:
        """The nodes whose part is lost; they are held back from now on. `well` are those that lend as
        planned, `head` is how the head's process is."""
        self._look(at)
        seen = self._seen.get(split.model)
        if seen is None or seen.split != split:
            seen = self._seen[split.model] = _Seen(split, at)
        nodes = [part.node for part in split.plan.parts]
        seen.well_at |= {node: at for node in nodes if node in well}
        lost = {node for node in nodes if at > self._deadline(seen, node)}
        if set(nodes) <= set(well):  # else its end needs no other explanation
            lost |= self._fails_on(seen, head, at)
        self._held_back |= dict.fromkeys(lost, at + HELD_BACK_SECONDS)
        return lost

    def held_back(self, at: float) -> set[str]:
        self._look(at)
        self._held_back = {node: until for node, until in self._held_back.items() if until > at}
        return set(self._held_back)

    def homeless_seconds(self, model: str, is_homeless: bool, at: float) -> float:
        """How long the model has had no node without a break."""
        self._look(at)
        if not is_homeless:
            self._homeless_since.pop(model, None)
            return 0.0
        return at - self._homeless_since.setdefault(model, at)

    def _look(self, at: float) -> None:
        """A clock that was set back makes all that was seen worthless: it is looked at anew."""
        if at < self._looked_at:
            self._seen, self._held_back, self._homeless_since = {}, {}, {}
        self._looked_at = at

    def _deadline(self, seen: _Seen, node: str) -> float:
        if node in seen.well_at:
            return seen.well_at[node] + LOST_AFTER_SECONDS
        return seen.since + READY_WITHIN_SECONDS

    def _fails_on(self, seen: _Seen, head: EngineState | None, at: float) -> set[str]:
        parts = seen.split.plan.parts
        if head and not head.is_running and head.since >= seen.since:
            named = (part.node for part in parts if f"{seen.split.addresses.get(part.node)}:" in head.said)
            seen.endings[head.since] = tuple(named) or tuple(part.node for part in parts)
        recent = [nodes for since, nodes in seen.endings.items() if at - since < HELD_BACK_SECONDS]
        return set(recent[-1]) if len(recent) >= _ENDINGS else set()
