"""How fast a model is on a node: measured there, or else predicted and corrected by what was measured. Pure.

A token of an answer reads every active weight once, so its time is bytes over the memory's bandwidth; answers
that run together share that reading, until arithmetic is the limit: two operations for each active weight
and token. (Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009.) Caches, formats and drivers decide
how much of the published figures is reached. That is learned: each benchmark is kept with what was
predicted, and the ratio corrects the other models of that node, and other nodes of its kind.
"""

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
from appliance.placement.history import BETWEEN_STEPS_SECONDS, History

_REACHED_OF_BANDWIDTH = {Accelerator.GPU: 0.6, Accelerator.CPU: 0.6, Accelerator.NPU: 0.35}
_REACHED_OF_OPERATIONS = 0.4
_READING_PER_ANSWERING = {Accelerator.GPU: 15.0, Accelerator.NPU: 15.0, Accelerator.CPU: 8.0}
"""So much faster a prompt is read than an answer made, where arithmetic is not published."""
_ASSUMED = {
    Accelerator.GPU: HardwareFigures(200e9),
    Accelerator.NPU: HardwareFigures(80e9),
    Accelerator.CPU: HardwareFigures(25e9),
}
"""Of a kind of which nothing is published: slow ones of today."""
_RECENT = 3


def estimate(node: NodeFacts, way: Way, model: ModelNeed, files: ModelFiles, history: History) -> Speed:
    """The speed of `model` from `files` on `way` of `node`, at the way's parallel answers."""
    own = [each for each in history.on(node, way) if each.digest == files.digest]
    if own:
        return _measured(own, way, model, files)
    figures = way.figures or _ASSUMED[way.accelerator]
    plain = predict(figures, way, model, files)
    correction, count, whose = history.correction(node, way)
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


def bytes_read_per_second(node: NodeFacts, way: Way, history: History) -> float:
    """How fast the way reads weights: what of its bandwidth is reached, corrected by what was measured."""
    figures = way.figures or _ASSUMED[way.accelerator]
    return (
        figures.bytes_per_second * _REACHED_OF_BANDWIDTH[way.accelerator] * history.correction(node, way)[0]
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
        return BETWEEN_STEPS_SECONDS + max(read / bandwidth, computing)

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


def _measured(own: Sequence[Measured], way: Way, model: ModelNeed, files: ModelFiles) -> Speed:
    """Together at the way's parallel answers: an engine is measured with the answers at once that it was
    started with, and must not keep to so few for ever."""
    # the median of the last ones: a night on which somebody worked must not move a model
    recent, widest = own[-_RECENT:], max(each.at_once for each in own)
    alone = median(each.alone for each in recent)
    # of one with fewer answers at once since then it is known how many more would be too many
    wide = [each for each in own if each.at_once == widest][-_RECENT:]
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
