"""An engine that the box should run, as a file: NAME.json in the folder of specs, one for each model.

Whoever decides writes and removes these files, each in one step; `tending` makes the processes equal to them.
The demo model has none: it is always there.
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from appliance.engines.options import Kind
from appliance.errors import Refused
from appliance.hardware.profile import MOST_PARALLEL, EngineName, Setting

# it becomes the name of a file and of a socket
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class SpecUnusable(Refused):
    """A file in the folder that says of no engine what is needed."""

    code = "engine_spec_unusable"


class EngineSpec(BaseModel):
    """What the command line of an engine process says; `digest` names the model's files."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: ModelName
    model_file: Path
    digest: str = ""
    engine: EngineName = EngineName.LLAMA_CPP
    kind: Kind = Kind.TEXT
    device: str = "CPU"
    settings: dict[str, Setting] = Field(default_factory=dict)
    slots: int = Field(default=8, ge=1, le=MOST_PARALLEL)
    context_tokens: int = Field(default=0, ge=0)
    kv_tokens: int = Field(default=0, ge=0)
    prompt_tokens: int = Field(default=0, ge=0)

    def arguments(self) -> list[str]:
        """Of `python -m appliance.engines`, without where it listens."""
        numbers = {
            "--slots": self.slots,
            "--context-tokens": self.context_tokens,
            "--kv-tokens": self.kv_tokens,
            "--prompt-tokens": self.prompt_tokens,
        }
        words = ["--model", str(self.model_file), "--name", self.name, "--engine", self.engine.value]
        words += ["--kind", self.kind.value, "--device", self.device]
        words += [word for option, number in numbers.items() for word in (option, str(number))]
        for name, value in self.settings.items():
            words += ["--setting", f"{name}={_written(value)}"]
        return words


def _written(value: Setting) -> str:
    """As the command line reads it back: numbers and truth as JSON has them, and a text that looks alike."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value)


def read_specs(folder: Path) -> tuple[dict[str, EngineSpec], tuple[SpecUnusable, ...]]:
    """By name. A file that can't be used is told, and takes nothing else along."""
    specs: dict[str, EngineSpec] = {}
    unusable: list[SpecUnusable] = []
    for file in sorted(folder.glob("*.json")):
        try:
            spec = EngineSpec.model_validate_json(file.read_bytes())
        except OSError:
            continue  # it was taken away just now
        except ValidationError as error:
            unusable.append(SpecUnusable(f"{file.name} describes no engine: {error.errors()[0]['msg']}."))
            continue
        if spec.name == file.stem:
            specs[spec.name] = spec
    return specs, tuple(unusable)


def write_specs(folder: Path, specs: dict[str, EngineSpec]) -> bool:
    """Makes the folder hold exactly these; whether anything changed. Those who run engines only read it."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    before, _ = read_specs(folder)
    for file in folder.glob("*.json"):
        if file.stem not in specs:
            file.unlink(missing_ok=True)
    for name, spec in specs.items():
        if before.get(name) != spec:
            new = folder / f".{name}.new"
            new.write_text(spec.model_dump_json())
            new.chmod(0o644)
            new.replace(folder / f"{name}.json")
    return before != specs
