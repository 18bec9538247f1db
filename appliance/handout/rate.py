"""A cap on bytes per second, as a token bucket: pure, the time is an argument."""

from dataclasses import dataclass, field

BURST_SECONDS = 0.25
"""How much may go at once after a pause, in seconds of the rate."""


@dataclass
class TokenBucket:
    """`bytes_per_second` 0 is no cap. A sender goes first and waits afterwards, so every count fits."""

    bytes_per_second: int = 0
    _debt_bytes: float = 0.0
    _at: float | None = field(default=None)

    def set_rate(self, bytes_per_second: int) -> None:
        """From the next `take` on. What was owed at the former rate is forgiven."""
        if bytes_per_second != self.bytes_per_second:
            self.bytes_per_second = bytes_per_second
            self._debt_bytes = 0.0

    def take(self, count: int, now: float) -> float:
        """Counts `count` bytes that go at `now` (monotonic seconds); seconds to wait before the next."""
        rate = self.bytes_per_second
        if rate == 0:
            return 0.0
        passed = now - (now if self._at is None else self._at)
        self._at = now
        self._debt_bytes = max(self._debt_bytes - passed * rate, -BURST_SECONDS * rate) + count
        return max(0.0, self._debt_bytes / rate)


def lower_cap(first: int, second: int) -> int:
    """The lower of two caps, of which 0 is none."""
    return min(first, second) if first and second else first or second
