"""An engine in simulated time: it answers at the speeds it was measured or predicted to have.

It works as the batcher does (appliance/engines/batcher.py): each step makes one token for every answer that
is under way, and reads a portion of the prompts that are new, shared evenly; the step lasts as long as both
take. Between two events the steps are alike, so only the events are computed: a prompt read, an answer
complete.
"""

import asyncio
from dataclasses import dataclass

from appliance.placement.contract import Speed
from appliance.placement.speed import together_at

_STEP_TOKENS = 512
_STEP_SECONDS = 0.75
"""The longest that reading prompts may make a step while others get answers."""
_ALMOST = 1e-6


@dataclass(eq=False)
class _Job:
    prompt_left: float
    answer_left: float
    done: "asyncio.Future[None]"
    first_token_at: float = -1.0


class SimulatedEngine:
    """Runs on a loop of simulated time. `busy_seconds` is how long at least one answer was under way."""

    def __init__(self, speed: Speed) -> None:
        self._speed = speed
        self._jobs: list[_Job] = []
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.busy_seconds = 0.0
        self.tokens = 0

    async def answer(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Returns when the answer is complete: the time of its first token."""
        loop = asyncio.get_running_loop()
        self._advance(loop.time())
        job = _Job(float(prompt_tokens), max(0.0, answer_tokens - 1.0), loop.create_future())
        self._jobs.append(job)
        self._plan_next(loop)
        await job.done
        self.tokens += answer_tokens
        return job.first_token_at

    def _rates(self) -> tuple[float, float]:
        """Tokens a second of each prompt that is read, and of each answer that is made."""
        reading = sum(job.prompt_left > 0 for job in self._jobs)
        answering = len(self._jobs) - reading
        making = answering / together_at(self._speed, answering) if answering else 0.0
        if not reading:
            return 0.0, 1 / making if making else 0.0
        portion = float(_STEP_TOKENS - answering)
        if answering:
            portion = min(portion, self._speed.prompt * _STEP_SECONDS)
        portion = max(1.0, portion)
        step = making + portion / self._speed.prompt
        return portion / step / reading, (1 / step if answering else 0.0)

    def _advance(self, to: float) -> None:
        passed, self._at = to - self._at, to
        if not self._jobs or passed <= 0:
            return
        self.busy_seconds += passed
        reading, making = self._rates()
        for job in self._jobs:
            if job.prompt_left > 0:
                job.prompt_left -= reading * passed
                if job.prompt_left <= _ALMOST:
                    job.prompt_left, job.first_token_at = 0.0, to
            else:
                job.answer_left -= making * passed
        for job in [each for each in self._jobs if each.prompt_left <= 0 and each.answer_left <= _ALMOST]:
            self._jobs.remove(job)
            job.done.set_result(None)

    def _plan_next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._jobs:
            return
        reading, making = self._rates()
        soonest = min(
            job.prompt_left / reading if job.prompt_left > 0 else job.answer_left / making
            for job in self._jobs
        )
        self._timer = loop.call_at(self._at + max(soonest, _ALMOST), self._due, loop)

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._advance(loop.time())
        self._plan_next(loop)
