"""From the engines that the box wants and those that run to what must be started and stopped. Pure.

An engine that already runs as wanted keeps its port and its process; one with other numbers or files is
stopped and started again; what can't be done is left out with its reason. While files are on their way, what
runs under the model's name goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.enrolment.contract import DesiredEngine
from appliance.settings import WORKER_ENGINE_PORTS


@dataclass(frozen=True)
class EngineSpec:
    """One engine process: its model's name and file, and how it is started."""

    model: str
    file: Path
    slots: int
    context_tokens: int
    port: int


@dataclass(frozen=True)
class Changes:
    """Stops come before starts, for a start may take the port of a stop. `left_out` holds sentences."""

    stop: tuple[EngineSpec, ...] = ()
    start: tuple[EngineSpec, ...] = ()
    left_out: tuple[str, ...] = ()


def plan_engines(
    desired: Sequence[DesiredEngine],
    running: Sequence[EngineSpec],
    find_model: Callable[[str], Path | None],
) -> Changes:
    """What to change so that exactly `desired` runs; `find_model` gives the file of a model."""
    wanted = {engine.model: engine for engine in desired}
    files = {model: find_model(model) for model in wanted}
    staying = [
        spec
        for spec in running
        if spec.model in wanted
        and (files[spec.model] is None or _is_as(spec, wanted[spec.model], files[spec.model]))
    ]
    kept = {spec.model for spec in staying}
    free_ports = [port for port in WORKER_ENGINE_PORTS if port not in {spec.port for spec in staying}]
    start, left_out = [], []
    for model, engine in wanted.items():
        if model in kept:
            continue
        file = files[model]
        if file is None:
            left_out.append(f"The model {model} is not on this machine.")
        elif not free_ports:
            left_out.append(f"No port is left for {model}: {len(WORKER_ENGINE_PORTS)} engines at most.")
        else:
            start.append(EngineSpec(model, file, engine.slots, engine.context_tokens, free_ports.pop(0)))
    stop = tuple(spec for spec in running if spec not in staying)
    return Changes(stop=stop, start=tuple(start), left_out=tuple(left_out))


def _is_as(spec: EngineSpec, engine: DesiredEngine, file: Path | None) -> bool:
    return (spec.file, spec.slots, spec.context_tokens) == (file, engine.slots, engine.context_tokens)
