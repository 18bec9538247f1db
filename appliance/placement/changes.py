"""What a plan would change against what runs now, each change with its reason. Pure."""

from collections.abc import Iterator, Sequence

from appliance.placement.contract import Action, Change, Placed, Running


def changes(placed: Sequence[Placed], running: Sequence[Running]) -> tuple[Change, ...]:
    """Keeps first, then moves, restarts, loads and unloads, each by node and model."""
    wanted = {(each.node, each.model): each for each in placed}
    there = {(each.node, each.model): each for each in running}
    found = [
        *_kept(wanted, there),
        *_moved(wanted, there),
    ]
    order = list(Action)
    return tuple(sorted(found, key=lambda change: (order.index(change.action), change.node, change.model)))


def _kept(wanted: dict[tuple[str, str], Placed], there: dict[tuple[str, str], Running]) -> Iterator[Change]:
    for key in sorted(wanted.keys() & there.keys()):
        differs = _differences(wanted[key], there[key])
        if differs:
            yield Change(Action.RESTART, *key, f"It runs {'; '.join(differs)}.")
        else:
            yield Change(Action.KEEP, *key, wanted[key].because)


def _differences(placed: Placed, running: Running) -> list[str]:
    said = []
    if (placed.way.engine, placed.way.device) != (running.engine, running.device):
        said.append(f"with {running.engine.value} on {running.device} (planned: {placed.way.name})")
    if placed.digest != running.digest:
        said.append("with other files than it should")
    if running.slots not in (0, placed.slots):
        said.append(f"with {running.slots} answers at once (planned: {placed.slots})")
    if running.context_tokens and placed.context_tokens != running.context_tokens:
        said.append(f"with a context of {running.context_tokens} tokens (planned: {placed.context_tokens})")
    return said


def _moved(wanted: dict[tuple[str, str], Placed], there: dict[tuple[str, str], Running]) -> Iterator[Change]:
    """A load and an unload of one model are one move; what is left over is one of the two."""
    loads, unloads = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    for node, model in unloads:
        target = next((key for key in loads if key[1] == model), None)
        busy = there[node, model].in_flight
        after = f" Its {busy} running answers are finished first." if busy else ""
        if target is None:
            yield Change(Action.UNLOAD, node, model, f"Nothing asks for it to be there any more.{after}")
        else:
            loads.remove(target)
            yield Change(Action.MOVE, node, model, f"{wanted[target].because}{after}", target[0])
    for key in loads:
        yield Change(Action.LOAD, *key, wanted[key].because)
