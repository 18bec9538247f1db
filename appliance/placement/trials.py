"""Which ways should be tried tonight, so that every engine that could serve a model is measured once. Pure.

A benchmark measures what runs, and the plan runs what it thinks the fastest: a better engine would never be
found. So at night, where nobody asked for a model in a while, it is run by another way than the measured one
until that is measured, too; then the plan knows. One way of a node at a time, and only those that could win.
"""

from collections.abc import Collection, Iterator, Sequence

from appliance.engines.options import Kind
from appliance.placement.contract import ModelFiles, ModelNeed, NodeFacts, Running, SpeedSource, Trial, Way
from appliance.placement.due import NIGHT_HOURS
from appliance.placement.history import History
from appliance.placement.memory import usable_files
from appliance.placement.options import Known, worth

IDLE_BEFORE_TRIAL_SECONDS = 1800.0
MOST_FAILURES = 3
"""In a row, of its benchmark: then it is left alone."""
ANOTHER_NIGHT_SECONDS = 12 * 3600.0
_COULD_WIN = 0.5
"""Of what is measured already, by both predictions: less than half of it is not worth a night's restart."""


def trials_of_night(
    nodes: Sequence[NodeFacts],
    models: Sequence[ModelNeed],
    known: Known,
    *,
    local_hour: int,
    failed: Collection[Trial] = (),
) -> tuple[Trial, ...]:
    """`known.running` says what runs; `failed` are those whose benchmark did not succeed."""
    if local_hour not in NIGHT_HOURS:
        return ()
    by_name = {model.name: model for model in models if model.kind is Kind.TEXT and not model.is_demo}
    found: list[Trial] = []
    for node in nodes:
        running = [each for each in known.running if each.node == node.id]
        is_quiet = not any(each.in_flight for each in running)
        wanted = [
            trial
            for each in sorted(running, key=lambda one: one.model)
            if each.model in by_name
            for trial in _of_engine(node, by_name[each.model], each, known)
            # the benchmark of one that runs keeps it busy, too
            if trial not in failed and (is_quiet or _runs(running, trial))
        ]
        found += sorted(wanted, key=lambda trial: not _runs(running, trial))[:1]
    return tuple(found)


def _of_engine(node: NodeFacts, model: ModelNeed, running: Running, known: Known) -> Iterator[Trial]:
    """What runs unmeasured beside a way that is measured, for that is a trial; else what could be one."""
    pairs = [
        (way, files)
        for way in node.ways
        for files in usable_files(model, way)
        if files.digest == running.digest and not known.why_given_up(node, files, way)
    ]
    measured = [pair for pair in pairs if _is_measured(node, model, *pair, known)]
    if not measured:
        return
    runs = (running.engine, running.device)
    is_idle = running.ready and running.idle_seconds >= IDLE_BEFORE_TRIAL_SECONDS
    # like with like: predictions of reading prompts are far from what is measured
    predicted = Known(History(), known.wishes, ())
    best = max(_worth(node, model, *pair, predicted) for pair in measured)
    for way, files in pairs:
        if (way, files) in measured:
            continue
        if (way.engine, way.device) == runs or (
            is_idle and _worth(node, model, way, files, predicted) >= best * _COULD_WIN
        ):
            yield Trial(node.id, files.digest, way.engine, way.device)


def _runs(running: Sequence[Running], trial: Trial) -> bool:
    return any(
        (each.digest, each.engine, each.device) == (trial.digest, trial.engine, trial.device)
        for each in running
    )


def _is_measured(node: NodeFacts, model: ModelNeed, way: Way, files: ModelFiles, known: Known) -> bool:
    return known.speed(node, way, model, files).source is SpeedSource.MEASURED


def _worth(node: NodeFacts, model: ModelNeed, way: Way, files: ModelFiles, known: Known) -> float:
    return worth(known.speed(node, way, model, files), way.parallel)
