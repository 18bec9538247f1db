"""What the pages about models read, at one moment: models, where they are loaded, room, gets, aliases."""

from dataclasses import dataclass

from appliance.accounting import EngineOverview, NodeOverview, NodeState
from appliance.clock import now
from appliance.models import (
    DEFAULT_ALIAS,
    Alias,
    Entry,
    Get,
    GetState,
    GetUnknown,
    HeldModel,
    LifecycleState,
    MemoryNeed,
    ModelCheck,
    ModelState,
    Room,
    Store,
    catalogue_folders,
    held_models,
    list_aliases,
    list_gets,
    model_checks,
    model_states,
    need_of,
    node_rooms,
    read_catalogue,
    read_get,
    serving_nodes,
)
from appliance.placement import Pin, read_placement, read_splits
from appliance.settings import BOX_NODE
from webadmin import nodes_in_words
from webadmin.database import activity, box_settings, cellule

_REFUSED_SHOWN_SECONDS = 3 * 86_400
_TALKING = frozenset({NodeState.READY, NodeState.STARTING})


@dataclass(frozen=True)
class Loaded:
    """An engine that holds a model on a node, or is about to."""

    node: NodeOverview
    engine: EngineOverview


@dataclass(frozen=True)
class Fit:
    """Whether one answer of the model has room on a node."""

    room: Room
    need_bytes: int

    @property
    def fits(self) -> bool:
        return self.need_bytes <= self.room.room_bytes

    @property
    def share(self) -> float:
        return min(1.0, self.need_bytes / self.room.room_bytes) if self.room.room_bytes else 1.0


@dataclass(frozen=True)
class ShelfModel:
    """One model that the box holds."""

    state: ModelState
    entry: Entry | None
    check: ModelCheck | None
    loaded: tuple[Loaded, ...]
    fits: tuple[Fit, ...]
    pins: tuple[Pin, ...]
    """Where it must or must never be loaded."""
    copies: int
    """On how many machines an admin wants it at least; 0: as many as requests need."""
    is_split: bool
    """It runs on several machines together, and the page Plan ends that."""
    successor: str
    """The held model that came from the entry to take instead, "" where there is none."""

    @property
    def model(self) -> HeldModel:
        return self.state.model

    @property
    def is_damaged(self) -> bool:
        return self.check is not None and self.check.found_damage(self.model)

    @property
    def is_ready(self) -> bool:
        return any(each.engine.ready for each in self.loaded)

    @property
    def chats(self) -> bool:
        return self.is_ready and self.model.kind.value == "text"


@dataclass(frozen=True)
class Taken:
    """What a loaded model may take of a node at most; None where its files are not known here."""

    model: str
    need: MemoryNeed | None
    ready: bool

    @property
    def taken_bytes(self) -> int:
        return self.need.total_bytes if self.need else 0


@dataclass(frozen=True)
class NodeMemory:
    """A node's room for models and who is in it; `room_bytes` is None where nobody told."""

    node: NodeOverview
    room_bytes: int | None
    taken: tuple[Taken, ...]

    @property
    def is_heard(self) -> bool:
        """Whether it tells now what it has loaded."""
        return self.node.state in _TALKING

    @property
    def taken_bytes(self) -> int:
        return sum(each.taken_bytes for each in self.taken)

    @property
    def free_bytes(self) -> int:
        return max(0, (self.room_bytes or 0) - self.taken_bytes)


@dataclass(frozen=True)
class Shelf:
    """Everything of the page Models."""

    models: tuple[ShelfModel, ...]
    elsewhere: dict[str, list[str]]
    """Models that nodes serve and the box doesn't hold, by name, with the nodes' names."""
    aliases: tuple[Alias, ...]
    memory: tuple[NodeMemory, ...]
    under_way: tuple[Get, ...]
    refused: tuple[Get, ...]
    disk_bytes: int
    """What all models take of the box's disk."""

    @property
    def names(self) -> list[str]:
        """What an alias may point to."""
        return [each.model.name for each in self.models] + sorted(self.elsewhere)

    @property
    def could_answer_by_default(self) -> list[str]:
        """Models that are loaded and chat, while “default” still goes to the demo."""
        default = next((each.model for each in self.aliases if each.alias == DEFAULT_ALIAS), "")
        if default not in {each.model.name for each in self.models if each.model.ships}:
            return []
        return [each.model.name for each in self.models if each.chats and not each.model.ships]


def read_shelf() -> Shelf:
    """As of now."""
    at, held, aliases = now(), held_models(cellule()), list_aliases(cellule())
    nodes, rooms = nodes_in_words.fleet(), node_rooms(box_settings(), cellule())
    serving = serving_nodes(cellule(), activity())
    catalogue, checks = read_entries(), model_checks(activity())
    placement, split = read_placement(cellule()), {each.model for each in read_splits(cellule()).splits}
    states = model_states(held, aliases, serving, at=at)
    known = {model.name for model in held}
    gets = list_gets(activity())
    return Shelf(
        models=tuple(
            ShelfModel(
                state,
                catalogue.get(state.model.entry),
                checks.get(state.model.name),
                _loaded(nodes, state.model.name),
                _fits(rooms, state.need.total_bytes),
                tuple(pin for pin in placement.pins if pin.model == state.model.name),
                placement.copies.get(state.model.name, 0),
                state.model.name in split,
                _successor(state, held),
            )
            for state in states
        ),
        elsewhere={model: names for model, names in serving.items() if model not in known},
        aliases=tuple(aliases),
        memory=tuple(_memory(node, rooms, held) for node in nodes),
        under_way=tuple(get for get in reversed(gets) if not get.state.is_over),
        refused=tuple(get for get in _last_of_each_name(gets) if _is_worth_telling(get, at)),
        disk_bytes=Store(box_settings().state_dir).used_bytes(),
    )


def read_entries() -> dict[str, Entry]:
    """The catalogue; files of it that can't be used are told on its own page."""
    return read_catalogue(catalogue_folders(box_settings().state_dir))[0]


def asked_get(number: str) -> Get:
    """By what an address says. Raises GetUnknown."""
    if not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise GetUnknown("There is no such get.", next_step="Reload the list.")
    return read_get(activity(), int(number))


def _loaded(nodes: list[NodeOverview], model: str) -> tuple[Loaded, ...]:
    talking = [node for node in nodes if node.state in _TALKING]
    return tuple(Loaded(node, engine) for node in talking for engine in node.engines if engine.model == model)


def _fits(rooms: list[Room], need_bytes: int) -> tuple[Fit, ...]:
    """Where it has room first, of these the box, then the largest."""
    fits = [Fit(room, need_bytes) for room in rooms]
    return tuple(
        sorted(fits, key=lambda fit: (not fit.fits, fit.room.node != BOX_NODE, -fit.room.room_bytes))
    )


def _successor(state: ModelState, held: list[HeldModel]) -> str:
    wanted = state.model.successor
    if state.lifecycle is LifecycleState.CURRENT or not wanted:
        return ""
    return next((model.name for model in held if model.entry == wanted), "")


def _memory(node: NodeOverview, rooms: list[Room], held: list[HeldModel]) -> NodeMemory:
    of_node = BOX_NODE if node.id == BOX_NODE else node.name
    room = next((room.room_bytes for room in rooms if room.node == of_node), None)
    files = {model.name: model for model in held}
    taken = tuple(
        Taken(engine.model, _need(files.get(engine.model), engine), engine.ready)
        for engine in (node.engines if node.state in _TALKING else ())
    )
    return NodeMemory(node, room, taken)


def _need(model: HeldModel | None, engine: EngineOverview) -> MemoryNeed | None:
    """As its engine was started."""
    if model is None:
        return None
    return need_of(model, engine.context_tokens, engine.slots) if engine.context_tokens else need_of(model)


def _last_of_each_name(gets: list[Get]) -> list[Get]:
    found: dict[str, Get] = {}
    for get in gets:
        found.setdefault(get.name.lower(), get)
    return list(found.values())


def _is_worth_telling(get: Get, at: float) -> bool:
    is_recent = get.ended_at is not None and at - get.ended_at < _REFUSED_SHOWN_SECONDS
    return get.state is GetState.REFUSED and is_recent and not get.cancelled
