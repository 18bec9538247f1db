"""How fast a model is on a node: measured there, or else predicted and corrected by what was measured. Pure.

A token of an answer reads every active weight once, so its time is bytes over the memory's bandwidth; answers
that run together share that reading, until arithmetic is the limit: two operations for each active weight
and token. (Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009.) Caches, formats and drivers decide
how much of the published figures is reached. That is learned: each benchmark is kept with what was
predicted, and the ratio corrects the other models of that node, and other nodes of its kind.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from appliance.hardware.profile import Kind as Accelerator
from appliance.placement.contract import (
    TYPICAL_TOKENS,
    HardwareFigures,
    Measured,
    ModelFiles,
    ModelNeed,
    NodeFacts,
    Speed,
    SpeedSource,
    Way,
)

_REACHED_OF_BANDWIDTH = {Accelerator.GPU: 0.6, Accelerator.CPU: 0.6, Accelerator.NPU: 0.35}
_REACHED_OF_OPERATIONS = 0.4
_BETWEEN_STEPS_SECONDS = 0.001
"""What an engine takes beside reading and arithmetic to choose a token and begin the next: about what it
took with models of a few megabytes, which have hardly anything to read."""
_READING_PER_ANSWERING = {Accelerator.GPU: 15.0, Accelerator.NPU: 15.0, Accelerator.CPU: 8.0}
"""So much faster a prompt is read than an answer made, where arithmetic is not published."""
_ASSUMED = {
    Accelerator.GPU: HardwareFigures(200e9),
    Accelerator.NPU: HardwareFigures(80e9),
    Accelerator.CPU: HardwareFigures(25e9),
}
"""Of a kind of which nothing is published: slow ones of today."""
_PRIOR_MEASURES = 0.5
"""How many measures the prediction itself counts for: one benchmark moves it most of the way."""
_LEAST_READING = 0.1
"""Of a step: a benchmark of which it was less is not looked at."""
_RECENT = 3


def estimate(
    node: NodeFacts, way: Way, model: ModelNeed, files: ModelFiles, measures: Sequence[Measured]
) -> Speed:
    """The speed of `model` from `files` on `way` of `node`, at the way's parallel answers."""
    own = [each for each in measures if _is_of(each, node, way) and each.digest == files.digest]
    if own:
        return _measured(own, way, model, files)
    figures = way.figures or _ASSUMED[way.accelerator]
    plain = predict(figures, way, model, files)
    correction, count, whose = _correction(node, way, measures)
    if count:
        word = f"corrected by {count} benchmark{'s' if count > 1 else ''} {whose} (× {correction:.2f})"
        source = SpeedSource.CORRECTED
    else:
        word = "not measured yet"
        source = SpeedSource.PREDICTED if way.figures else SpeedSource.ASSUMED
    reads = files.weights_bytes * model.active_share
    size = f"{reads / 1e9:.1f}" if reads >= 5e7 else f"{reads / 1e9:.2g}"
    because = f"{figures.bytes_per_second / 1e9:.0f} GB/s over {size} GB for each token, {word}"
    return Speed(
        plain.prompt * correction,
        plain.alone * correction,
        plain.together * correction,
        way.parallel,
        source,
        because,
    )


def bytes_read_per_second(node: NodeFacts, way: Way, measures: Sequence[Measured]) -> float:
    """How fast the way reads weights: what of its bandwidth is reached, corrected by what was measured."""
    figures = way.figures or _ASSUMED[way.accelerator]
    return (
        figures.bytes_per_second
        * _REACHED_OF_BANDWIDTH[way.accelerator]
        * _correction(node, way, measures)[0]
    )


@dataclass(frozen=True)
class Prediction:
    prompt: float
    alone: float
    together: float


def predict(
    figures: HardwareFigures, way: Way, model: ModelNeed, files: ModelFiles, at_once: int | None = None
) -> Prediction:
    """From published figures alone; together with `at_once` answers, the way's parallel ones without it."""
    at_once = at_once or way.parallel
    bandwidth = figures.bytes_per_second * _REACHED_OF_BANDWIDTH[way.accelerator]
    operations = figures.operations_per_second * _REACHED_OF_OPERATIONS
    active = model.active_parameters or model.parameters

    def step_seconds(answers: int) -> float:
        # of a mixture, answers that run together read more experts, until all are read
        share = 1 - (1 - model.active_share) ** answers if model.active_share < 1 else 1.0
        read = files.weights_bytes * share + answers * model.kv_bytes_per_token * TYPICAL_TOKENS
        computing = 2 * active * answers / operations if operations else 0.0
        return _BETWEEN_STEPS_SECONDS + max(read / bandwidth, computing)

    alone = 1 / step_seconds(1)
    # without a figure for arithmetic nobody knows how far batching helps; half of the ideal is common
    together = at_once / step_seconds(at_once)
    if not operations:
        together = alone + (together - alone) / 2
    prompt = operations / (2 * active) if operations else alone * _READING_PER_ANSWERING[way.accelerator]
    return Prediction(max(prompt, alone), alone, max(together, alone))


def together_at(speed: Speed, answers: int) -> float:
    """All answers together when `answers` run: between alone and together, as far as is known."""
    if answers <= 1 or speed.at_once <= 1:
        return speed.alone
    if answers >= speed.at_once:
        return speed.together
    # the time of a step grows evenly with the answers in it
    first, last = 1 / speed.alone, speed.at_once / speed.together
    step = first + (last - first) * (answers - 1) / (speed.at_once - 1)
    return answers / step


def _is_of(measure: Measured, node: NodeFacts, way: Way) -> bool:
    return measure.node == node.id and (measure.engine, measure.device) == (way.engine, way.device)


def _measured(own: Sequence[Measured], way: Way, model: ModelNeed, files: ModelFiles) -> Speed:
    """Together at the way's parallel answers: an engine is measured with the answers at once that it was
    started with, and must not keep to so few for ever."""
    # the median of the last ones: a night on which somebody worked must not move a model
    ordered = sorted(own, key=lambda each: each.at)
    recent, widest = ordered[-_RECENT:], max(each.at_once for each in own)
    alone = median(each.alone for each in recent)
    # of one with fewer answers at once since then it is known how many more would be too many
    wide = [each for each in ordered if each.at_once == widest][-_RECENT:]
    gain = median(each.together / max(each.alone, 1e-9) for each in wide)
    times = f"{len(recent)} benchmark{'s' if len(recent) > 1 else ''} here"
    because = f"measured, {times} with {way.name}"
    at_once = max(1, widest)
    if at_once < way.parallel:
        gain *= _more_together(way, model, files, at_once)
        because += f"; more than {at_once} at once is estimated"
    return Speed(
        median(each.prompt for each in recent),
        alone,
        alone * gain,
        max(at_once, way.parallel),
        SpeedSource.MEASURED,
        because,
    )


def _more_together(way: Way, model: ModelNeed, files: ModelFiles, at_once: int) -> float:
    """So many times as much all parallel answers give by the figures as `at_once` of them."""
    figures = way.figures or _ASSUMED[way.accelerator]
    most = predict(figures, way, model, files)
    return most.together / predict(figures, way, model, files, at_once).together


def _correction(node: NodeFacts, way: Way, measures: Sequence[Measured]) -> tuple[float, int, str]:
    """The factor, from how many benchmarks, and whose. What this node showed counts before its kind.

    A benchmark counts by the share of a step that reading was to take: a model of a few megabytes shows
    nothing of what a large one will do.
    """
    here = [each for each in measures if _is_of(each, node, way)]
    of_kind = [
        each
        for each in measures
        if each.profile == way.profile and (each.engine, each.device) == (way.engine, way.device)
    ]
    for found, whose in ((here, "on this node"), (of_kind, "on nodes of this kind")):
        logs = [
            (share, math.log(each.alone / each.predicted_alone))
            for each in found
            if each.predicted_alone > 0 < each.alone
            and (share := 1 - _BETWEEN_STEPS_SECONDS * each.predicted_alone) >= _LEAST_READING
        ]
        if logs:
            weights = sum(share for share, _ in logs)
            factor = math.exp(sum(share * log for share, log in logs) / (weights + _PRIOR_MEASURES))
            return factor, len(logs), whose
    return 1.0, 0, ""
