"""What is kept: speeds in activity.db, an admin's wishes and the applied plan in cellule.db.

A benchmark that failed is kept, too, with why. Of each node the last hundred are kept.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from appliance.clock import age_seconds
from appliance.errors import Refused
from appliance.hardware.profile import EngineName
from appliance.placement.contract import READABLE_TOKENS_PER_SECOND, Measured, Placed, Plan, Wishes
from appliance.placement.history import History
from appliance.storage import Choice, read_choice, transaction, write_choice

_KEPT = 100
_COLUMNS = (
    "node, model, digest, engine, device, profile, prompt, alone, together, at_once, at, predicted_alone,"
    " versions"
)


class PinRefused(Refused):
    """The pin contradicts another one, or there would be too many."""

    code = "pin_refused"


class CopiesRefused(Refused):
    """Fewer than none, or more than any fleet has."""

    code = "copies_refused"


class Applying(StrEnum):
    """What becomes of a new plan."""

    ASK = "ask"
    AUTOMATICALLY = "automatically"


class Pin(BaseModel):
    """A model on a node: always, or never."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    node: str = Field(min_length=1, max_length=64)
    model: str = Field(min_length=1, max_length=100)
    never: bool = False


MOST_COPIES = 999
UNLOADED_SECONDS = 3600.0
"""So long no plan brings back what an admin unloaded; who asks for it does, at any time."""


class Unloaded(BaseModel):
    """A model that an admin unloaded from a node; `at` is epoch seconds."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    node: str
    model: str
    at: float

    def holds(self, at: float) -> bool:
        return age_seconds(self.at, at) < UNLOADED_SECONDS


class SplitWish(StrEnum):
    """What an admin said of splitting a model."""

    ANYWAY = "anyway"
    """Also where a smaller model on one node is faster, and where plans wait for a word."""
    NEVER = "never"


class PlacementChoice(Choice):
    """What an admin wants of placement."""

    applying: Applying = Applying.AUTOMATICALLY
    least_tokens_per_second: float = Field(default=READABLE_TOKENS_PER_SECOND, gt=0, le=1000)
    pins: tuple[Pin, ...] = Field(default=(), max_length=1000)
    copies: dict[str, Annotated[int, Field(ge=0, le=MOST_COPIES)]] = Field(default_factory=dict)
    """By model, on how many nodes it is loaded at least."""

    splits: dict[str, SplitWish] = Field(default_factory=dict)
    """By model, where an admin said something of it."""

    unloaded: tuple[Unloaded, ...] = ()

    def wishes(self, at: float) -> Wishes:
        """As they are at `at`, epoch seconds."""
        lately = {(each.node, each.model) for each in self.unloaded if each.holds(at)}
        return Wishes(
            pinned=frozenset((pin.node, pin.model) for pin in self.pins if not pin.never),
            never=frozenset({(pin.node, pin.model) for pin in self.pins if pin.never} | lately),
            copies=tuple(sorted(self.copies.items())),
            least_tokens_per_second=self.least_tokens_per_second,
        )


class AppliedEngine(BaseModel):
    """One engine of the applied plan, as a node's desired state needs it."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    node: str
    model: str
    digest: str
    engine: EngineName
    device: str
    slots: int
    context_tokens: int
    prompt_tokens: int = 0
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)
    because: str = ""


class AppliedPlan(Choice):
    """The plan that nodes are led to. Empty before the first one was applied."""

    engines: tuple[AppliedEngine, ...] = ()


def read_placement(db: Database) -> PlacementChoice:
    return read_choice(db, PlacementChoice)


def set_pin(db: Database, pin: Pin, *, chosen_by: str | None) -> None:
    """Takes the place of the pin on the same node and model, if there is one. Raises PinRefused."""
    with transaction(db):
        choice = read_placement(db)
        others = [each for each in choice.pins if (each.node, each.model) != (pin.node, pin.model)]
        if len(others) >= 1000:
            raise PinRefused("There are a thousand pins.", next_step="Remove one first.")
        write_choice(db, choice.model_copy(update={"pins": (*others, pin)}), chosen_by=chosen_by)


def remove_pin(db: Database, node: str, model: str, *, chosen_by: str | None) -> None:
    """Safe to repeat."""
    with transaction(db):
        choice = read_placement(db)
        left = tuple(each for each in choice.pins if (each.node, each.model) != (node, model))
        write_choice(db, choice.model_copy(update={"pins": left}), chosen_by=chosen_by)


def unload_model(db: Database, node: str, model: str, *, at: float, chosen_by: str | None) -> None:
    """The node gives its running answers and unloads it. Raises PinRefused where it is pinned there."""
    with transaction(db):
        choice = read_placement(db)
        if Pin(node=node, model=model) in choice.pins:
            raise PinRefused(
                "An admin said that it is always loaded there.", next_step="Let the plan decide first."
            )
        others = [
            each for each in choice.unloaded if (each.node, each.model) != (node, model) and each.holds(at)
        ]
        unloaded = (*others, Unloaded(node=node, model=model, at=at))
        write_choice(db, choice.model_copy(update={"unloaded": unloaded}), chosen_by=chosen_by)


def load_again(db: Database, models: Collection[str], at: float) -> None:
    """What was unloaded before `at` may come back, for somebody asked for it then."""
    with transaction(db):
        choice = read_placement(db)
        left = tuple(each for each in choice.unloaded if each.model not in models or each.at > at)
        if left != choice.unloaded:
            write_choice(db, choice.model_copy(update={"unloaded": left}), chosen_by=None)


def wish_split(db: Database, model: str, wish: SplitWish | None, *, chosen_by: str | None) -> None:
    """Takes the place of what was said of the model before; None: as the box finds right."""
    with transaction(db):
        choice = read_placement(db)
        splits = {name: said for name, said in choice.splits.items() if name != model}
        splits |= {model: wish} if wish else {}
        write_choice(db, choice.model_copy(update={"splits": splits}), chosen_by=chosen_by)


def wish_copies(db: Database, model: str, copies: int, *, chosen_by: str | None) -> None:
    """At least so many nodes load it; 0: as many as requests need. Raises CopiesRefused."""
    if not 0 <= copies <= MOST_COPIES:
        raise CopiesRefused(f"A model is loaded on 0 to {MOST_COPIES} machines.")
    with transaction(db):
        choice = read_placement(db)
        wished = {name: number for name, number in choice.copies.items() if name != model}
        wished |= {model: copies} if copies else {}
        write_choice(db, choice.model_copy(update={"copies": wished}), chosen_by=chosen_by)


def choose_placement(
    db: Database,
    *,
    applying: Applying | None = None,
    least_tokens_per_second: float | None = None,
    chosen_by: str | None,
) -> None:
    """Changes what is given. Raises pydantic.ValidationError for a value out of range."""
    given = {"applying": applying, "least_tokens_per_second": least_tokens_per_second}
    with transaction(db):
        changed = read_placement(db).model_dump() | {
            name: value for name, value in given.items() if value is not None
        }
        write_choice(db, PlacementChoice.model_validate(changed), chosen_by=chosen_by)


def apply_plan(db: Database, plan: Plan, *, chosen_by: str | None) -> bool:
    """Records the plan as what nodes are led to; False if it is recorded already."""
    wanted = AppliedPlan(engines=tuple(_applied(each) for each in plan.placed))
    with transaction(db):
        if _without_reasons(read_choice(db, AppliedPlan)) == _without_reasons(wanted):
            return False
        write_choice(db, wanted, chosen_by=chosen_by)
    return True


def applied_engines(db: Database, node: str) -> tuple[AppliedEngine, ...]:
    """What the applied plan wants on a node."""
    return applied_by_node(db).get(node, ())


def applied_by_node(db: Database) -> dict[str, tuple[AppliedEngine, ...]]:
    """The same for every node that it wants something on."""
    found: dict[str, tuple[AppliedEngine, ...]] = {}
    for each in read_choice(db, AppliedPlan).engines:
        found[each.node] = (*found.get(each.node, ()), each)
    return found


def _applied(placed: Placed) -> AppliedEngine:
    return AppliedEngine(
        node=placed.node, model=placed.model, digest=placed.digest, engine=placed.way.engine,
        device=placed.way.device, slots=placed.slots, context_tokens=placed.context_tokens,
        prompt_tokens=placed.way.prompt_tokens, settings=dict(placed.way.settings), because=placed.because,
    )  # fmt: skip


def _without_reasons(plan: AppliedPlan) -> list[AppliedEngine]:
    return [each.model_copy(update={"because": ""}) for each in plan.engines]


def record_measure(activity: Database, measured: Measured, trouble: str = "") -> None:
    """Keeps a benchmark; one with `trouble` counts as tried, not as measured."""
    row = [getattr(measured, name.strip()) for name in _COLUMNS.split(",")]
    row[3] = measured.engine.value
    marks = ", ".join("?" * (len(row) + 1))
    with transaction(activity):
        activity.execute(f"INSERT INTO engine_speeds ({_COLUMNS}, trouble) VALUES ({marks})", [*row, trouble])  # noqa: S608 ours
        activity.execute(
            "DELETE FROM engine_speeds WHERE node = ? AND id NOT IN"
            " (SELECT id FROM engine_speeds WHERE node = ? ORDER BY id DESC LIMIT ?)",
            [measured.node, measured.node, _KEPT],
        )


def read_measures(activity: Database) -> History:
    """Those that succeeded, the oldest first."""
    rows = activity.query(f"SELECT {_COLUMNS} FROM engine_speeds WHERE trouble = '' ORDER BY id")  # noqa: S608 ours
    return History(map(_measured, rows))


def last_failures(activity: Database) -> dict[tuple[str, str, str, str], tuple[float, int]]:
    """By node, digest, engine and device: when it last failed, and how often in a row since it succeeded."""
    found: dict[tuple[str, str, str, str], tuple[float, int]] = {}
    query = "SELECT node, digest, engine, device, at, trouble FROM engine_speeds ORDER BY id"
    for node, digest, engine, device, at, trouble in activity.execute(query):
        key = (node, digest, engine, device)
        if trouble:
            found[key] = (at, found.get(key, (0.0, 0))[1] + 1)
        else:
            found.pop(key, None)
    return found


def _measured(row: dict[str, Any]) -> Measured:
    return Measured(**{**row, "engine": EngineName(row["engine"])})
