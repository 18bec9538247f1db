"""How long to wait before a process that died is started again. Pure."""

from dataclasses import dataclass

STEADY_SECONDS = 60
"""A process that lived this long starts again at once."""
FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0


@dataclass
class RestartDelay:
    """Doubles with every early death, from half a second to half a minute."""

    seconds: float = FIRST_SECONDS

    def after(self, lived_seconds: float) -> float:
        """How long to wait, given how long the process that just died has lived."""
        if lived_seconds >= STEADY_SECONDS:
            self.seconds = FIRST_SECONDS
            return 0.0
        delay, self.seconds = self.seconds, min(self.seconds * 2, LONGEST_SECONDS)
        return delay
