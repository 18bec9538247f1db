"""A simulation in words for a terminal, and as JSON. Pure."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from appliance.placement.contract import Placed, Speed
from appliance.placement.inventory import MachineKind, unknown_cards
from appliance.placement.sizing import Needed, NodeDay, Simulated, Sized, Target

_GIB = 2**30
_WIDTH = 110


def told(kinds: Sequence[MachineKind], sized: Sized, target: Target, needs: Sequence[Needed] = ()) -> str:
    """The report; each line ends."""
    return "".join(f"{line}\n" for line in _lines(kinds, sized, target, needs))


def as_json(kinds: Sequence[MachineKind], sized: Sized, needs: Sequence[Needed] = ()) -> dict[str, Any]:
    """The same figures for programs."""
    day = sized.simulated
    return {
        "machines": [
            {
                "name": kind.name,
                "count": kind.count,
                "profile": kind.recognition.choice.profile.name if kind.recognition.choice else None,
                "ways": [way.name for way in kind.node.ways],
                "notes": list(kind.notes),
            }
            for kind in kinds
        ],
        "unknown_cards": list(unknown_cards(kinds)),
        "meets_target": sized.meets,
        "tried": [asdict(each) for each in sized.tried],
        "workload": asdict(day.workload) if day else None,
        "figures": asdict(day.figures) if day else None,
        "nodes": [asdict(each) for each in day.nodes] if day else [],
        "placed": [_placed_json(each) for each in day.plan.placed] if day else [],
        "unplaced": [asdict(each) for each in day.plan.unplaced] if day else [],
        "needed": [asdict(each) for each in needs],
    }


def _placed_json(placed: Placed) -> dict[str, Any]:
    return {
        "node": placed.node,
        "model": placed.model,
        "engine": placed.way.engine.value,
        "device": placed.way.device,
        "slots": placed.slots,
        "context_tokens": placed.context_tokens,
        "memory_bytes": placed.memory_bytes,
        "tokens_per_second_alone": round(placed.speed.alone, 1),
        "tokens_per_second_together": round(placed.speed.together, 1),
        "speed_is": placed.speed.source.value,
        "because": placed.because,
    }


def _lines(
    kinds: Sequence[MachineKind], sized: Sized, target: Target, needs: Sequence[Needed]
) -> Iterator[str]:
    yield "Machines"
    for kind in kinds:
        yield from _kind(kind)
    for sentence in unknown_cards(kinds):
        yield f"  {sentence}"
    yield ""
    for each in sized.tried:
        yield from textwrap.wrap(f"Not {each.model}: {each.because}", _WIDTH, subsequent_indent="    ")
    if sized.simulated is None:
        yield "No model of those runs on these machines."
        return
    yield from _day(sized.simulated, sized.meets, target)
    if needs:
        yield ""
        model = ", ".join(name for name, _ in sized.simulated.workload.models)
        yield f"How many of one kind alone would be enough for {model}"
        for need in needs:
            count = "never enough" if need.count is None else str(need.count)
            yield f"  {need.kind}: {count}. {need.because}"


def _kind(kind: MachineKind) -> Iterator[str]:
    choice = kind.recognition.choice
    what = choice.profile.title if choice else "nothing that can compute"
    hours = "" if kind.hours == (0.0, 24.0) else f", from {kind.hours[0]:g} to {kind.hours[1]:g} h"
    yield f"  {kind.count} x {kind.name}: {what}{hours}"
    for note in kind.notes:
        yield f"      {note}"


def _day(day: Simulated, meets: bool, target: Target) -> Iterator[str]:
    workload, figures = day.workload, day.figures
    models = ", ".join(name for name, _ in workload.models)
    yield f"{'Taken' if meets else 'Nearest to what is wanted'}: {models}"
    yield ""
    yield (
        f"{workload.employees} people, {workload.requests_per_day:g} requests a day each, "
        f"{workload.prompt_tokens:g} tokens of prompt and {workload.answer_tokens:g} of answer on average"
    )
    first = _both(figures.first_token_p50, figures.first_token_p95)
    whole = _both(figures.answer_p50, figures.answer_p95)
    idle, answering = sum(each.idle_kwh for each in day.nodes), sum(each.answering_kwh for each in day.nodes)
    yield f"  first token   {first}"
    yield f"  whole answer  {whole}"
    yield (
        f"  queue         {figures.waited} of {figures.requests} waited, "
        f"at most {figures.longest_queue} at once; {figures.refused} refused"
    )
    within = f"95 of 100 first tokens within {target.first_token_p95_seconds:g} s"
    yield f"  wanted        {within}: {'yes' if meets else 'no'}"
    yield f"  energy        {answering:.1f} kWh for the answers, {idle:.1f} kWh for accelerators that wait"
    yield ""
    yield "Plan"
    yield from _plan(day)
    for each in day.plan.unplaced:
        yield f"  {each.model}: {each.because}"


def _plan(day: Simulated) -> Iterator[str]:
    """Nodes that are alike in one line."""
    by_node = {each.node: each for each in day.nodes}
    alike = Counter(_alike(each) for each in day.plan.placed)
    shown: set[tuple[object, ...]] = set()
    for placed in day.plan.placed:
        key = _alike(placed)
        if key in shown:
            continue
        shown.add(key)
        same = [by_node[each.node] for each in day.plan.placed if _alike(each) == key]
        yield f"  {_times(alike[key], placed.node)}: {placed.model}, {placed.way.name}, {_work(same)}"
        yield f"      {_speed(placed.speed)}, {placed.slots} at once, {placed.memory_bytes / _GIB:.1f} GiB"


def _alike(placed: Placed) -> tuple[object, ...]:
    return placed.node.rstrip("0123456789 "), placed.model, placed.way, placed.slots


def _times(count: int, node: str) -> str:
    return node if count == 1 else f"{count} x {node.rstrip('0123456789 ')}"


def _work(days: Sequence[NodeDay]) -> str:
    busy = [day.busy_share for day in days]
    answers = sum(day.answers for day in days)
    if len(busy) == 1:
        return f"busy {busy[0]:.0%} of its day, {answers} answers"
    return f"busy {min(busy):.0%} to {max(busy):.0%} of their day, {answers} answers"


def _speed(speed: Speed) -> str:
    how = f"{speed.source.value}: {speed.because}"
    return f"{speed.alone:.0f} tokens/s alone, {speed.together:.0f} together ({how})"


def _both(half: float | None, most: float | None) -> str:
    if half is None or most is None:
        return "nobody got one"
    return f"half within {half:.1f} s, 95 of 100 within {most:.1f} s"
