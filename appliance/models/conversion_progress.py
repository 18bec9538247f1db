"""How far a conversion is: read from what the converter prints, told as step, percent and a sentence. Pure.

The converter's own lines differ from version to version; a line that is not known changes nothing, so the
worst that can happen is a bar that stands still for a while.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    STARTING = "starting"
    READING = "reading"
    TRACING = "tracing"
    COMPRESSING = "compressing"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Progress:
    """`percent` of the whole conversion; it never falls."""

    step: Step
    percent: int
    sentence: str


SENTENCES = {
    Step.STARTING: "The converter is starting.",
    Step.READING: "The model's weights are being read.",
    Step.TRACING: "The model is being written in OpenVINO's form.",
    Step.COMPRESSING: "The weights are being made smaller.",
    Step.VERIFYING: "The converted model is loaded and makes its first answer.",
    Step.DONE: "The model is converted.",
    Step.CANCELLED: "The conversion was stopped; nothing of it is left.",
}
_SPANS = {
    Step.STARTING: (0, 5),
    Step.READING: (5, 25),
    Step.TRACING: (25, 60),
    Step.COMPRESSING: (60, 90),
    Step.VERIFYING: (90, 99),
    Step.DONE: (100, 100),
}
"""From which percent to which each step goes."""
_LINES = (
    (re.compile(r"Loading (?:weights|pipeline components|checkpoint shards).*?(\d+)%"), Step.READING),
    (re.compile(r"TracerWarning|loss_type=None|Export model"), Step.TRACING),
    (re.compile(r"Applying Weight Compression.*?(\d+)%"), Step.COMPRESSING),
    (re.compile(r"Statistics of the bitwidth distribution"), Step.COMPRESSING),
)


def at(step: Step, share: float = 0.0) -> Progress:
    """`share` of that step is done, 0 to 1."""
    first, last = _SPANS[step]
    return Progress(step, int(first + share * (last - first)), SENTENCES[step])


def after_line(before: Progress, line: str) -> Progress:
    """The progress once the converter printed `line`."""
    for pattern, step in _LINES:
        match = pattern.search(line)
        if match:
            share = int(match.group(1)) / 100 if pattern.groups else 0.0
            now = at(step, min(share, 1.0))
            return now if _far(now) > _far(before) else before
    return before


def _far(progress: Progress) -> tuple[int, int]:
    """Where one step ends another begins with the same percent."""
    return progress.percent, list(_SPANS).index(progress.step)
