"""An inventory as CSV: machines by the line. All of it is read, or nothing, and each wrong line is told.

Columns: name, count, cpu, cores, memory_gb, gpu, gpu_count, gpu_memory_gb, npu, hours, system, server. Only
name, cpu and memory_gb must be there. Commas or semicolons part them; spreadsheets of half of Europe write
the latter.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from appliance.errors import Refused
from appliance.hardware import Profile, Recognition, recognise
from appliance.placement.contract import NodeFacts
from appliance.placement.machine_facts import Machine, facts_of
from appliance.placement.parts import Graphics, graphics_named, processor_named
from appliance.placement.ways import ways_of

_MOST_MACHINES = 5000
_MOST_BYTES = 1_000_000
_CORES_WHEN_NOT_SAID = 4
_WORDS = {
    "yes": True,
    "y": True,
    "1": True,
    "true": True,
    "no": False,
    "n": False,
    "0": False,
    "false": False,
}


class InventoryUnusable(Refused):
    """Nothing of it was taken over."""

    code = "inventory_unusable"


def _number(value: object) -> object:
    """A comma may part the decimals, and a unit may follow."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*(?:GB|GiB|GO)?\s*", value, re.IGNORECASE)
        if not found:
            raise ValueError(f"{value!r} is not a number")
        return found[1].replace(",", ".")
    return value


def _yes_or_no(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    return value


Number = Annotated[float, BeforeValidator(_number)]
Whole = Annotated[int, BeforeValidator(_number)]


class Line(BaseModel):
    """One line, checked. `hours` is when the machine is on and lent: "8-18"."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1, max_length=64)
    count: Whole = Field(default=1, ge=1, le=2000)
    cpu: str = Field(min_length=1, max_length=120)
    cores: Whole = Field(default=_CORES_WHEN_NOT_SAID, ge=1, le=1024)
    memory_gb: Number = Field(gt=0, le=16384)
    gpu: str = Field(default="", max_length=120)
    gpu_count: Whole = Field(default=1, ge=1, le=16)
    gpu_memory_gb: Number = Field(default=0, ge=0, le=1024)
    npu: Annotated[bool, BeforeValidator(_yes_or_no)] = True
    hours: str = Field(default="0-24", pattern=r"^\d{1,2}(:\d\d)?-\d{1,2}(:\d\d)?$")
    system: Literal["linux", "windows", "macos"] = "linux"
    server: Literal["", "vllm", "mlx"] = ""


@dataclass(frozen=True)
class MachineKind:
    """A line of the inventory as a kind of node: what it is, how many there are, when they are on."""

    name: str
    count: int
    node: NodeFacts
    recognition: Recognition
    hours: tuple[float, float]
    notes: tuple[str, ...] = ()
    """What was assumed, for whoever reads the report."""

    def nodes(self, count: int | None = None) -> list[NodeFacts]:
        """One for each machine, named by number where there are several."""
        many = self.count if count is None else count
        if many == 1:
            return [self.node]
        return [
            NodeFacts(
                f"{self.node.id} {number}",
                f"{self.name} {number}",
                self.node.ways,
                self.node.is_box,
                self.node.lent_share,
            )
            for number in range(1, many + 1)
        ]


def read_inventory(text: str, profiles: Mapping[str, Profile]) -> tuple[MachineKind, ...]:
    """Raises InventoryUnusable, with a sentence for each line that is wrong."""
    if len(text) > _MOST_BYTES:
        raise InventoryUnusable("The inventory is larger than a megabyte.", next_step="Send machines only.")
    rows = _rows(text.removeprefix("\ufeff"))
    kinds: list[MachineKind] = []
    wrong: list[str] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        try:
            line = Line.model_validate({key: value for key, value in row.items() if value})
            if line.name in seen:
                raise ValueError(f'the name "{line.name}" is on line {seen[line.name]} already')
            seen[line.name] = number
            kinds.append(_kind(line, profiles))
        except ValidationError as error:
            wrong += [f"Line {number}: {_sentence(each['loc'], each['msg'])}" for each in error.errors()]
        except ValueError as error:
            wrong.append(f"Line {number}: {error}.")
    if not rows:
        wrong.append("It has no line with a machine.")
    if sum(kind.count for kind in kinds) > _MOST_MACHINES:
        wrong.append(f"It has more than {_MOST_MACHINES} machines.")
    if wrong:
        raise InventoryUnusable(" ".join(wrong), next_step="Mend these lines; nothing was taken over.")
    return tuple(kinds)


def _rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and cells by the column's name. Raises InventoryUnusable for a wrong heading."""
    first = text.partition("\n")[0]
    parted_by = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text), delimiter=parted_by, skipinitialspace=True)
    heading: list[str] | None = None
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
            continue
        if heading is None:
            heading = [cell.strip().lower().replace(" ", "_") for cell in cells]
            _check_heading(heading)
            continue
        if len(cells) > len(heading):
            raise InventoryUnusable(
                f"Line {reader.line_num}: it has {len(cells)} cells, and the heading {len(heading)}."
            )
        rows.append(
            (reader.line_num, {name: cell.strip() for name, cell in zip(heading, cells, strict=False)})
        )
    return rows


def _check_heading(heading: Iterable[str]) -> None:
    names = list(heading)
    unknown = [name for name in names if name not in Line.model_fields]
    missing = [name for name in ("name", "cpu", "memory_gb") if name not in names]
    if unknown or missing:
        what = [f'there is no column "{name}"' for name in unknown]
        what += [f'the column "{name}" is missing' for name in missing]
        raise InventoryUnusable(
            f"Line 1: {'; '.join(what)}.", next_step=f"The columns are: {', '.join(Line.model_fields)}."
        )


def _kind(line: Line, profiles: Mapping[str, Profile]) -> MachineKind:
    """Raises ValueError with half a sentence."""
    notes = []
    processor = processor_named(line.cpu)
    if processor is None:
        notes.append(f'The processor "{line.cpu}" is not known; it is taken for one without AVX2.')
    cards: tuple[tuple[Graphics, float], ...] = ()
    if line.gpu:
        cards = tuple([_card(line)] * line.gpu_count)
    machine = Machine(
        line.cpu, line.cores, line.memory_gb, processor, cards, line.npu, line.system,
        (line.server,) if line.server else (),
    )  # fmt: skip
    facts = facts_of(machine)
    recognition = recognise(facts, profiles)
    on, off = _hours(line.hours)
    share = min(1.0, (off - on) / 10) if off - on < 10 else 1.0
    node = NodeFacts(line.name, line.name, ways_of(facts, recognition), lent_share=share)
    return MachineKind(line.name, line.count, node, recognition, (on, off), tuple(notes))


def _card(line: Line) -> tuple[Graphics, float]:
    card = graphics_named(line.gpu)
    if card is None:
        raise ValueError(
            f'the graphics card "{line.gpu}" is not known; leave it out, or name it as its maker does'
        )
    memory = line.gpu_memory_gb or card.memory_gb
    if not memory:
        raise ValueError(f'"{line.gpu}" comes with several sizes of memory; gpu_memory_gb must say which')
    return card, memory


def _hours(text: str) -> tuple[float, float]:
    on, off = (
        int(hour) + int(minute or 0) / 60
        for hour, _, minute in (part.partition(":") for part in text.split("-"))
    )
    if not 0 <= on < off <= 24:
        raise ValueError(f'the hours "{text}" must lie within one day, the first before the second')
    return on, off


def _sentence(where: tuple[int | str, ...], message: str) -> str:
    return f'"{where[0]}": {message.removeprefix("Value error, ")}.' if where else f"{message}."
