"""The engines of a simulated fleet; the router is shown those that it could choose, for thousands stand idle.

Of idle engines alike in model, slots and the prompts they take, none is done sooner than the fastest, and of
equally fast ones the router takes the first: so that one stands for all. Those that answer are all shown.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from appliance.pool.nodes import EngineHealth, NodeEngine, Nodes

_Group = tuple[str, int, int]
"""Model, slots, longest prompt."""


class SimulatedNodes(Nodes):
    """Iterating over it is looking for an engine; `all` are all of them."""

    def __init__(
        self, engines: Iterable[EngineHealth], silent_seconds: float, forgotten_seconds: float
    ) -> None:
        super().__init__(silent_seconds, forgotten_seconds)
        self._shown: set[NodeEngine] = set()
        """Last time; only these may have got something to do since then."""
        self._idle: dict[_Group, list[tuple[float, int]]] = {}
        self._noted: set[NodeEngine] = set()
        """Those that are in `_idle`."""
        said = list(engines)
        self.update(said, {each.node_id for each in said}, at=0.0)
        self.all = tuple(super().__iter__())
        self._order = {engine: number for number, engine in enumerate(self.all)}
        for engine in self.all:
            self._note_idle(engine)

    def switch(self, engine: NodeEngine, unusable: str) -> None:
        """From now on it is `unusable` for that reason, or usable with ""."""
        engine.unusable = unusable
        if engine not in self._shown:
            self._note_idle(engine)

    def __iter__(self) -> Iterator[NodeEngine]:
        for engine in [each for each in self._shown if not each.in_flight]:
            self._shown.remove(engine)
            self._note_idle(engine)
        self._shown |= {first for group in self._idle.values() if (first := self._first_of(group))}
        return iter(sorted(self._shown, key=lambda engine: self._order[engine]))

    def _first_of(self, group: list[tuple[float, int]]) -> NodeEngine | None:
        while group:
            engine = self.all[heappop(group)[1]]
            self._noted.remove(engine)
            if not engine.unusable:
                return engine
        return None

    def _note_idle(self, engine: NodeEngine) -> None:
        """One that is off is noted when it is on again."""
        if not engine.unusable and engine not in self._noted:
            self._noted.add(engine)
            key = (engine.model, engine.slots, engine.prompt_tokens)
            heappush(self._idle.setdefault(key, []), (-engine.tokens_per_second, self._order[engine]))
