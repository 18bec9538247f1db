"""From the engines that the box wants and those that run to what must be started and stopped. Pure.

An engine that already runs as wanted keeps its port and its process; one with other numbers or files is
stopped and started again; what can't be done is left out with its reason. While files are on their way, what
runs under the model's name goes on. An adopted server's engine has no file: the model is that server's.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.engines.options import Kind
from appliance.enrolment.contract import DesiredEngine
from appliance.hardware.profile import MOST_PARALLEL, EngineName, Setting
from appliance.settings import WORKER_ENGINE_PORTS
from appliance.worker.model_files import is_model_name

NO_FILE = Path()


@dataclass(frozen=True)
class EngineSpec:
    """One engine process: its model's name and file, NO_FILE for an adopted server, and how it is started."""

    model: str
    file: Path
    slots: int
    context_tokens: int
    port: int
    engine: EngineName = EngineName.LLAMA_CPP
    kind: Kind = Kind.TEXT
    device: str = "CPU"
    settings: tuple[tuple[str, Setting], ...] = ()
    prompt_tokens: int = 0


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
    taken_ports: Collection[int] = (),
) -> Changes:
    """What to change so that exactly `desired` runs; `find_model` gives the file of a model.

    `taken_ports` are those of the owner's own servers: one that listens everywhere has the tunnel's too.
    """
    wanted = {engine.model: engine for engine in desired}
    files = {model: _file_of(engine, find_model) for model, engine in wanted.items()}
    staying = [
        spec
        for spec in running
        if spec.model in wanted
        and (files[spec.model] is None or spec == _spec(wanted[spec.model], files[spec.model], spec.port))
    ]
    kept = {spec.model for spec in staying}
    taken = {*(spec.port for spec in staying), *taken_ports}
    free_ports = [port for port in WORKER_ENGINE_PORTS if port not in taken]
    start, left_out = [], []
    for model, engine in wanted.items():
        if model in kept:
            continue
        file = files[model]
        if file is None:
            left_out.append(f"The model {model} is not on this machine.")
        elif not 1 <= engine.slots <= MOST_PARALLEL:
            left_out.append(f"{model} can't give {engine.slots} answers at once, only 1 to {MOST_PARALLEL}.")
        elif not free_ports:
            left_out.append(f"No port is left for {model}: {len(WORKER_ENGINE_PORTS)} engines at most.")
        else:
            start.append(_spec(engine, file, free_ports.pop(0)))
    stop = tuple(spec for spec in running if spec not in staying)
    return Changes(stop=stop, start=tuple(start), left_out=tuple(left_out))


def _file_of(engine: DesiredEngine, find_model: Callable[[str], Path | None]) -> Path | None:
    if engine.engine is EngineName.ADOPTED:
        return NO_FILE if is_model_name(engine.model) else None
    return find_model(engine.model)


def _spec(engine: DesiredEngine, file: Path | None, port: int) -> EngineSpec:
    return EngineSpec(
        model=engine.model,
        file=file or NO_FILE,
        slots=engine.slots,
        context_tokens=engine.context_tokens,
        port=port,
        engine=engine.engine,
        kind=engine.kind,
        device=engine.device,
        settings=tuple(sorted(engine.settings.items())),
        prompt_tokens=engine.prompt_tokens,
    )
