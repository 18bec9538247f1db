"""An inventory as CSV: machines by the line. All of it is read, or nothing, and each wrong line is told.

Columns: name, count, cpu, cores, memory_gb, gpu, gpu_count, gpu_memory_gb, npu, hours, system, server. Only
name, cpu and memory_gb must be there. Commas, semicolons (as spreadsheets of half of Europe write them) or
tabs (as cells are copied) part them.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from appliance.errors import Refused
from appliance.hardware import Profile, Recognition, recognise
from appliance.placement.contract import NodeFacts
from appliance.placement.machine_facts import Machine, facts_of
from appliance.placement.parts import Graphics, graphics_named, is_no_card, processor_named
from appliance.placement.ways import ways_of

_MOST_MACHINES = 5000
_MOST_BYTES = 1_000_000
_CORES_WHEN_NOT_SAID = 4
_HOURS = r"^\d{1,2}(:[0-5]\d)?-\d{1,2}(:[0-5]\d)?$"
_PARTED_BY = ",;\t"
_SAVE_AS_CSV = "Save the table as CSV, and send that file."
_WORDS = {
    **dict.fromkeys(("yes", "y", "1", "true", "oui", "ja"), True),
    **dict.fromkeys(("no", "n", "0", "false", "non", "nein"), False),
}
"""As people of the languages that the lists come in write it."""
_WRONG_VALUES = {
    "missing": "it is missing",
    "string_too_long": "it has more than {max_length} characters",
    "string_pattern_mismatch": "it must be hours like 8-18",
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than_equal": "it must be at most {le:g}",
    "int_parsing": "it must be a whole number",
    "bool_parsing": "it must be yes or no",
    "int_parsing_size": "it must be a whole number",
}
"""By pydantic's type of error."""
_MOST_TOLD = 20
_MOST_LINES_TOLD = 10


class InventoryUnusable(Refused):
    """Nothing of it was taken over; `wrong` has a sentence for each thing that is wrong."""

    code = "inventory_unusable"

    def __init__(self, *wrong: str, next_step: str) -> None:
        super().__init__(" ".join(wrong), next_step=next_step)
        self.wrong = wrong


def _number(value: object) -> object:
    """A comma may part the decimals, and a unit may follow."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*(?:GB|GiB|GO)?\s*", value, re.IGNORECASE)
        if not found:
            raise ValueError(f'"{value}" is not a number')
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
    hours: str = Field(default="0-24", pattern=_HOURS)
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
    line: int = 0
    unknown_card: str = ""
    """As the line has it; the machine is counted without it."""

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


def inventory_text(data: bytes) -> str:
    """The text of a file as spreadsheets write it. Raises InventoryUnusable for one that is no text."""
    text = _decoded(data)
    _refuse_no_text(text)
    return text


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Excel's plain "CSV" is in the code page of the PC, in most of Europe this one
        return data.decode("cp1252", "replace")


def _refuse_no_text(text: str) -> None:
    if "\0" in text:
        raise InventoryUnusable("This is no CSV text.", next_step=_SAVE_AS_CSV)


def read_inventory(text: str, profiles: Mapping[str, Profile]) -> tuple[MachineKind, ...]:
    """Raises InventoryUnusable, with a sentence for each line that is wrong."""
    _refuse_no_text(text)
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
            kinds.append(replace(_kind(line, profiles), line=number))
        except ValidationError as error:
            wrong += [f"Line {number}: {_sentence(each)}" for each in error.errors()]
        except ValueError as error:
            wrong.append(f"Line {number}: {error}.")
    wrong += _named_twice(kinds, seen)
    if not rows:
        wrong.append("It has no line with a machine.")
    if sum(kind.count for kind in kinds) > _MOST_MACHINES:
        wrong.append(f"It has more than {_MOST_MACHINES} machines.")
    if wrong:
        raise InventoryUnusable(*_first(wrong), next_step="Mend these lines; nothing was taken over.")
    return tuple(kinds)


def _first(wrong: Sequence[str]) -> Iterator[str]:
    """As many as anybody reads before mending the first."""
    yield from wrong[:_MOST_TOLD]
    if len(wrong) > _MOST_TOLD:
        yield f"There are {len(wrong) - _MOST_TOLD} more mistakes like these."


def _named_twice(kinds: Iterable[MachineKind], lines: Mapping[str, int]) -> Iterator[str]:
    """Machines of a line are named by number: "PC 2" of two "PC" must not be a line of its own."""
    several = {kind.name: kind.count for kind in kinds if kind.count > 1}
    for kind in kinds:
        of, _, number = kind.name.rpartition(" ")
        is_number = re.fullmatch("[1-9][0-9]{0,3}", number) is not None
        if kind.count == 1 and is_number and int(number) <= several.get(of, 0):
            yield (
                f'Line {lines[kind.name]}: the name "{kind.name}" is that of one of the {several[of]} '
                f'machines "{of}" on line {lines[of]}.'
            )


def _rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and cells by the column's name. Raises InventoryUnusable for a wrong heading."""
    # newline=None: a line ends as on any system
    lines = io.StringIO(text, newline=None)
    first = lines.readline()
    lines.seek(0)
    parted_by = max(_PARTED_BY, key=first.count)
    # strict: a quotation mark that is not closed would swallow the machines below it
    reader = csv.reader(lines, delimiter=parted_by, skipinitialspace=parted_by != "\t", strict=True)
    heading: list[str] | None = None
    rows = []
    begun = 1
    try:
        for cells in reader:
            number, begun = begun, reader.line_num + 1
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            if heading is None:
                heading = [cell.strip().lower().replace(" ", "_") for cell in cells]
                _check_heading(heading, number)
                continue
            rows.append((number, _row(heading, cells, number)))
    except csv.Error as error:
        too_long = "field limit" in str(error)
        wrong = "a cell has no end" if too_long else "a quotation mark is not closed, or text follows it"
        raise InventoryUnusable(
            f"Line {begun}: {wrong}.", next_step="Look at this line, or save the table as CSV once more."
        ) from error
    return rows


def _row(heading: Sequence[str], cells: Sequence[str], number: int) -> dict[str, str]:
    if len(cells) > len(heading):
        raise InventoryUnusable(
            f"Line {number}: it has {len(cells)} cells, and the heading {len(heading)}.",
            next_step=f"The columns are: {', '.join(heading)}.",
        )
    return {name: cell.strip() for name, cell in zip(heading, cells, strict=False)}


def _check_heading(names: Sequence[str], number: int) -> None:
    unknown = [name for name in names if name not in Line.model_fields]
    missing = [name for name in ("name", "cpu", "memory_gb") if name not in names]
    twice = [name for name in Line.model_fields if names.count(name) > 1]
    if unknown or missing or twice:
        wrong = [f'Line {number}: there is no column "{name}".' for name in unknown]
        wrong += [f'Line {number}: the column "{name}" is missing.' for name in missing]
        wrong += [f'Line {number}: the column "{name}" is there twice.' for name in twice]
        raise InventoryUnusable(
            *_first(wrong),
            next_step=f"The columns are: {', '.join(Line.model_fields)}.",
        )


def _kind(line: Line, profiles: Mapping[str, Profile]) -> MachineKind:
    """Raises ValueError with half a sentence."""
    notes = []
    processor = processor_named(line.cpu)
    if processor is None:
        notes.append(f'The processor "{line.cpu}" is not known; it is taken for one without AVX2.')
    cards: tuple[tuple[Graphics, float], ...] = ()
    card = graphics_named(line.gpu) if line.gpu else None
    if card:
        cards = tuple([(card, _card_memory(line, card))] * line.gpu_count)
    unknown_card = "" if card or is_no_card(line.gpu) else line.gpu
    machine = Machine(
        line.cpu, line.cores, line.memory_gb, processor, cards, line.npu, line.system,
        (line.server,) if line.server else (),
    )  # fmt: skip
    facts = facts_of(machine)
    recognition = recognise(facts, profiles)
    on, off = _hours(line.hours)
    share = min(1.0, (off - on) / 10) if off - on < 10 else 1.0
    node = NodeFacts(line.name, line.name, ways_of(facts, recognition), lent_share=share)
    return MachineKind(
        line.name, line.count, node, recognition, (on, off), tuple(notes), unknown_card=unknown_card
    )


def _card_memory(line: Line, card: Graphics) -> float:
    memory = line.gpu_memory_gb or card.memory_gb
    if not memory:
        raise ValueError(f'"{line.gpu}" comes with several sizes of memory; gpu_memory_gb must say which')
    return memory


def unknown_cards(kinds: Iterable[MachineKind]) -> tuple[str, ...]:
    """A sentence for each card that is not known: on which lines it is, and what to write instead."""
    lines: dict[str, list[int]] = {}
    for kind in kinds:
        if kind.unknown_card:
            lines.setdefault(kind.unknown_card, []).append(kind.line)
    return tuple(_unknown_card(card, numbers) for card, numbers in lines.items())


def _unknown_card(card: str, lines: Sequence[int]) -> str:
    told, more = ", ".join(map(str, lines[:_MOST_LINES_TOLD])), len(lines) - _MOST_LINES_TOLD
    what = (
        f'the graphics card "{card}" is not known and is counted as none. '
        "Write one that is known and of the same speed (RTX 4060), and its memory in gpu_memory_gb."
    )
    if more > 0:
        return f"Lines {told} and {more} more: {what}"
    return f"Lines {told}: {what}" if len(lines) > 1 else f"Line {told}: {what}"


def _hours(text: str) -> tuple[float, float]:
    on, off = (
        int(hour) + int(minute or 0) / 60
        for hour, _, minute in (part.partition(":") for part in text.split("-"))
    )
    if not 0 <= on < off <= 24:
        raise ValueError(f'the hours "{text}" must lie within one day, the first before the second')
    return on, off


def _sentence(error: ErrorDetails) -> str:
    """For whoever typed the line."""
    if not error["loc"]:
        return f"{error['msg']}."
    column, facts = error["loc"][0], error.get("ctx", {})
    if error["type"] == "literal_error":
        allowed = ", ".join(re.findall("'([a-z]+)'", facts["expected"]))
        wrong = f"it must be one of: {allowed}"
    elif words := _WRONG_VALUES.get(error["type"]):
        wrong = words.format(**facts)
    else:
        wrong = error["msg"].removeprefix("Value error, ")
    return f'"{column}": {wrong}.'
