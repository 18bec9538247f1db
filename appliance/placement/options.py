"""How a model could run on one node: every engine that could, with its speed; the fastest; or why none. Pure.

The engine is chosen by figures: measured where a benchmark ran, predicted elsewhere. What runs now stays
unless another is faster by STAY, so that two engines of nearly one speed don't take turns. An engine that
makes a form of its own of the files (OpenVINO of a GGUF) costs memory and time: it is taken where it was
measured to be faster than what the files were made for, else only to be measured (placement.trials).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from appliance.engines.options import Kind
from appliance.placement.contract import (
    GivenUp,
    ModelFiles,
    ModelNeed,
    NodeFacts,
    Placed,
    Running,
    Speed,
    SpeedSource,
    Trial,
    Way,
    Wishes,
)
from appliance.placement.history import History
from appliance.placement.memory import (
    GIB,
    Room,
    as_loaded,
    free_bytes,
    is_foreign,
    least_bytes,
    room_for_one,
    room_taken,
    usable_files,
)
from appliance.placement.speed import estimate, together_at

STAY = 1.25
"""What is new must be better by this factor than what runs."""
STILL_READABLE = 0.85
"""What runs may be so much slower than wished before it is taken away."""
_ANSWER_TOKENS_BEYOND_PROMPT = 1024
_PROMPT_TOKENS_FOR_EACH_ANSWERED = 2.0
"""Of a usual request: an engine that answers well and reads badly is not fast."""


@dataclass(frozen=True)
class Known:
    """What was measured, wished and runs, looked up quickly; speeds are worked out once."""

    history: History
    wishes: Wishes
    running: Sequence[Running]
    given_up: Sequence[GivenUp] = ()
    trials: Collection[Trial] = ()
    _speeds: dict[tuple[str, str, str, str, str], Speed] = field(default_factory=dict)

    def speed(self, node: NodeFacts, way: Way, model: ModelNeed, files: ModelFiles) -> Speed:
        key = (node.id, way.engine.value, way.device, model.name, files.digest)
        if key not in self._speeds:
            self._speeds[key] = estimate(node, way, model, files, self.history)
        return self._speeds[key]

    def why_given_up(self, node: NodeFacts, files: ModelFiles, way: Way) -> str:
        """A sentence that names the way; "" where it is not."""
        wanted = (node.id, files.digest, way.engine, way.device)
        return next(
            (
                f"{way.name} {each.because}"
                for each in self.given_up
                if (each.node, each.digest, each.engine, each.device) == wanted
            ),
            "",
        )

    def is_tried(self, node: NodeFacts, files: ModelFiles, way: Way) -> bool:
        return Trial(node.id, files.digest, way.engine, way.device) in self.trials

    def runs(self, node: NodeFacts, model: ModelNeed, files: ModelFiles, way: Way) -> bool:
        """Whether this very engine with these files runs now."""
        wanted = (node.id, model.name, files.digest, way.engine, way.device)
        return any(
            (each.node, each.model, each.digest, each.engine, each.device) == wanted for each in self.running
        )


@dataclass(frozen=True)
class Option:
    """A model on a node by one engine. `capacity` is in tokens a second, all answers together."""

    node: NodeFacts
    model: ModelNeed
    files: ModelFiles
    way: Way
    room: Room
    speed: Speed
    runs_now: bool
    """This very engine with these files."""
    slots: int
    """At once, as far as a reader can bear; the room is for one until the rest is shared."""
    others: tuple[str, ...] = ()
    """Why other ways of the node were not taken, where that is more than a prediction; sentences."""
    is_tried: bool = False

    @property
    def capacity(self) -> float:
        return together_at(self.speed, self.slots)

    @property
    def worth(self) -> float:
        """Tokens a second of answers whose prompts are read, too: what a node is worth to a model."""
        return worth(self.speed, self.slots)

    def busy_share(self, prompt_tokens_per_hour: float, answer_tokens_per_hour: float) -> float:
        """How much of its time the engine would work if all of that came to it."""
        seconds = prompt_tokens_per_hour / self.speed.prompt + answer_tokens_per_hour / self.capacity
        return max(seconds / 3600 / self.node.lent_share, 1e-9)


def worth(speed: Speed, slots: int) -> float:
    """See Option.worth."""
    return 1 / (1 / together_at(speed, slots) + _PROMPT_TOKENS_FOR_EACH_ANSWERED / speed.prompt)


@dataclass(frozen=True)
class Considered:
    """The best option on a node, or None; and why not, a sentence for each other engine."""

    best: Option | None
    why_not: tuple[str, ...]


def consider(
    node: NodeFacts,
    model: ModelNeed,
    placed: Sequence[Placed],
    known: Known,
    *,
    must_be_readable: bool = True,
) -> Considered:
    """How `model` would best run on `node` beside those that are `placed` there."""
    options: list[Option] = []
    why_not: list[str] = []
    if not node.ways:
        why_not.append(f"nothing on {node.name} is known to compute")
    is_full = len([each for each in placed if each.model != model.name]) >= node.most_engines
    if is_full and not model.is_demo:
        why_not.append(f"{node.name} has {node.most_engines} models already, and no more ports for engines")
    for way in () if is_full and not model.is_demo else node.ways:
        for found in _on_way(node, way, model, placed, known, must_be_readable=must_be_readable):
            if isinstance(found, Option):
                options.append(found)
            else:
                why_not.append(found)
    best = max(options, key=_rank, default=None)
    if best is not None:
        best = replace(best, others=_told_of_others(best, known))
        why_not += [
            f"{each.way.name} gives {each.worth:.1f} tokens/s with prompts, {best.way.name} {best.worth:.1f}"
            for each in options
            if each is not best
        ]
    return Considered(best, tuple(why_not))


def as_it_runs(
    node: NodeFacts, model: ModelNeed, now: Running, placed: Sequence[Placed], known: Known, *, pinned: bool
) -> Option | None:
    """The engine that runs, with its answers at once and its context; None where it may not stay so."""
    ways = [way for way in node.ways if (way.engine, way.device) == (now.engine, now.device)]
    forms = [files for way in ways for files in usable_files(model, way) if files.digest == now.digest]
    if not ways or not forms:
        return None
    way, files = ways[0], forms[0]
    if known.why_given_up(node, files, way):
        return None
    speed = known.speed(node, way, model, files)
    least = known.wishes.least_tokens_per_second * STILL_READABLE
    if model.kind is Kind.TEXT and not pinned and speed.alone < least:
        return None
    slots, context = max(1, min(now.slots, way.parallel)), now.context_tokens or model.context_tokens
    bearable = way.parallel
    if model.kind is Kind.TEXT:
        bearable = readable_slots(speed, way.parallel, least)
    slots = min(slots, bearable)
    room = room_taken(model, as_loaded(files, way.engine), context, slots)
    if room.memory_bytes > free_bytes(way, placed):
        return None
    option = Option(
        node, model, files, way, room, speed, True, bearable, is_tried=known.is_tried(node, files, way)
    )
    if not _may_stay(option, placed, known):
        return None
    return replace(option, others=_told_of_others(option, known))


def readable_slots(speed: Speed, most: int, least_tokens_per_second: float) -> int:
    """How many answers at once still come at a readable speed each; at least one."""
    slots = max(1, most)
    while slots > 1 and together_at(speed, slots) / slots < least_tokens_per_second:
        slots -= 1
    return slots


def _may_stay(option: Option, placed: Sequence[Placed], known: Known) -> bool:
    """While a way is tried no other stays; and what costs more must be the best."""
    node, files = option.node, option.files
    if option.is_tried:
        return True
    another = any(known.is_tried(node, files, way) for way in node.ways)
    if not another and not is_foreign(files, option.way.engine):
        return True
    best = consider(node, option.model, placed, known, must_be_readable=False).best
    return best is not None and best.way == option.way


def _told_of_others(taken: Option, known: Known) -> tuple[str, ...]:
    return tuple(filter(None, _others(taken, known)))


def _others(taken: Option, known: Known) -> Iterator[str]:
    node, model = taken.node, taken.model
    if taken.is_tried:
        yield f"{taken.way.name} is tried tonight to be measured"
    for way in node.ways:
        for files in usable_files(model, way):
            yield known.why_given_up(node, files, way)
            speed = known.speed(node, way, model, files)
            if way != taken.way and {speed.source, taken.speed.source} == {SpeedSource.MEASURED}:
                slots = readable_slots(speed, way.parallel, known.wishes.least_tokens_per_second)
                yield (
                    f"Measured here, {taken.way.name} gives {taken.worth:.1f} tokens/s with prompts, "
                    f"and {way.name} gives {worth(speed, slots):.1f}"
                )


def _on_way(
    node: NodeFacts,
    way: Way,
    model: ModelNeed,
    placed: Sequence[Placed],
    known: Known,
    *,
    must_be_readable: bool,
) -> Iterator[Option | str]:
    """Of the forms that the way can run, the one it likes best that fits and is fast enough."""
    forms = usable_files(model, way)
    if not forms:
        has = ", ".join(files.format for files in model.files) or "no files"
        yield f"{way.name} runs {', '.join(way.formats)}, and {model.name} is there as {has}"
        return
    free = free_bytes(way, placed)
    wished = known.wishes.least_tokens_per_second
    for files in forms:
        if why := known.why_given_up(node, files, way):
            yield why
            continue
        speed, is_tried = known.speed(node, way, model, files), known.is_tried(node, files, way)
        if is_foreign(files, way.engine) and speed.source is not SpeedSource.MEASURED and not is_tried:
            yield f"{way.name} could load {model.name} ({files.format}), and was not measured with it yet"
            continue
        runs_now = known.runs(node, model, files, way)
        least = wished * (STILL_READABLE if runs_now else 1)
        if must_be_readable and model.kind is Kind.TEXT and speed.alone < least:
            slow = f"{way.name} would answer with {speed.alone:.1f} tokens/s ({speed.because})"
            yield f"{slow}, and a reader needs {wished:g}"
            continue
        room = room_for_one(_within(model, way), as_loaded(files, way.engine), free)
        if room is None:
            yield _does_not_fit(model, files, way, free, placed)
            continue
        slots = way.parallel if model.kind is not Kind.TEXT else readable_slots(speed, way.parallel, least)
        yield Option(node, model, files, way, room, speed, runs_now, slots, is_tried=is_tried)
        return


def _within(model: ModelNeed, way: Way) -> ModelNeed:
    """A way with a limit on prompts needs no cache beyond it."""
    if not way.prompt_tokens:
        return model
    most = way.prompt_tokens + _ANSWER_TOKENS_BEYOND_PROMPT
    return replace(model, context_tokens=min(model.context_tokens, most))


def _does_not_fit(model: ModelNeed, files: ModelFiles, way: Way, free: int, placed: Iterable[Placed]) -> str:
    beside = [each.model for each in placed if each.way.memory == way.memory]
    taken = f" beside {', '.join(sorted(beside))}" if beside else ""
    files = as_loaded(files, way.engine)
    least = least_bytes(model, files)
    return (
        f"{way.name} has {max(0, free) / GIB:.1f} GiB left{taken}, and {model.name} ({files.format}) needs "
        f"{least / GIB:.1f}: {files.weights_bytes / GIB:.1f} of weights, the rest for its cache and its work"
    )


def _rank(option: Option) -> tuple[bool, float, str, str]:
    stays = option.runs_now and not is_foreign(option.files, option.way.engine)
    worth_here = option.worth * (STAY if stays else 1)
    return option.is_tried, worth_here, option.way.engine.value, option.way.device
