"""Pages that follow what happens: the browser asks every 2 seconds for what changed (static/live.js).

A page's `LiveState` holds the text of each changing cell by its id, the series of its charts, and a version:
when that differs, what the page is made of has changed and the browser fetches the page's live part anew.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LiveState:
    """`shape` is anything JSON can hold that says what the page consists of; only its hash is sent."""

    shape: object
    cells: dict[str, str]
    series: dict[str, Sequence[float | None]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    """Bars: id → 0 to 1."""
    moments: dict[str, str] = field(default_factory=dict)
    """Times whose age is shown: id → ISO 8601."""

    @property
    def version(self) -> str:
        return hashlib.sha256(json.dumps(self.shape, sort_keys=True).encode()).hexdigest()[:16]

    def document(self) -> dict[str, object]:
        """What the endpoint of the page answers."""
        return {
            "version": self.version,
            "cells": self.cells,
            "series": self.series,
            "shares": self.shares,
            "moments": self.moments,
        }
