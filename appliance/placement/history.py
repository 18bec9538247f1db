"""The benchmarks that are kept, and what they show against what was predicted. Pure.

A fleet of hundreds of nodes has tens of thousands of them, and a plan asks for each node and model: they are
looked up, and what a node or its kind showed is worked out once.
"""

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Self

from appliance.hardware.profile import EngineName
from appliance.placement.contract import Measured, NodeFacts, Way

BETWEEN_STEPS_SECONDS = 0.001
"""What an engine takes beside reading and arithmetic to choose a token and begin the next: about what it
took with models of a few megabytes, which have hardly anything to read."""
_PRIOR_MEASURES = 0.5
"""How many measures the prediction itself counts for: one benchmark moves it most of the way."""
_LEAST_READING = 0.1
"""Of a step: a benchmark of which it was less is not looked at."""

_Key = tuple[str, EngineName, str]
"""Node or profile, engine, device."""


class History(tuple[Measured, ...]):
    """All of them, in the order in which they came."""

    @classmethod
    def of(cls, measures: Iterable[Measured]) -> Self:
        """The very same where it is one already, with what was looked up in it."""
        return measures if isinstance(measures, cls) else cls(measures)

    def on(self, node: NodeFacts, way: Way) -> list[Measured]:
        """Of that way of that node."""
        return self._by_node.get((node.id, way.engine, way.device), [])

    def correction(self, node: NodeFacts, way: Way) -> tuple[float, int, str]:
        """Measured by predicted, from how many benchmarks, and whose: this node counts before its kind."""
        for groups, name, whose in (
            (self._by_node, node.id, "on this node"),
            (self._by_profile, way.profile, "on nodes of this kind"),
        ):
            key = (name, way.engine, way.device)
            if (whose, key) not in self._shown:
                self._shown[whose, key] = _shown_by(groups.get(key, ()))
            factor, count = self._shown[whose, key]
            if count:
                return factor, count, whose
        return 1.0, 0, ""

    @cached_property
    def _by_node(self) -> dict[_Key, list[Measured]]:
        return self._grouped_by(lambda each: each.node)

    @cached_property
    def _by_profile(self) -> dict[_Key, list[Measured]]:
        return self._grouped_by(lambda each: each.profile)

    def _grouped_by(self, name: Callable[[Measured], str]) -> dict[_Key, list[Measured]]:
        found: dict[_Key, list[Measured]] = {}
        for each in self:
            found.setdefault((name(each), each.engine, each.device), []).append(each)
        return found

    @cached_property
    def _shown(self) -> dict[tuple[str, _Key], tuple[float, int]]:
        return {}


def _shown_by(measures: Iterable[Measured]) -> tuple[float, int]:
    """The factor, and from how many benchmarks.

    Each counts by the share of a step that reading was to take: a model of a few megabytes shows nothing of
    what a large one will do.
    """
    logs = [
        (share, math.log(each.alone / each.predicted_alone))
        for each in measures
        if each.predicted_alone > 0 < each.alone
        and (share := 1 - BETWEEN_STEPS_SECONDS * each.predicted_alone) >= _LEAST_READING
    ]
    if not logs:
        return 1.0, 0
    weights = sum(share for share, _ in logs)
    return math.exp(sum(share * log for share, log in logs) / (weights + _PRIOR_MEASURES)), len(logs)
