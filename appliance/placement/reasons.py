"""Reasons why a model does not run, as few as are read: a fleet has hundreds of machines alike. Pure."""

from collections.abc import Iterable, Sequence

_MOST_TOLD = 4


def joined(reasons: Sequence[str]) -> str:
    """Each once, and how many more there are after the first few."""
    few = list(dict.fromkeys(reasons))
    more = len(few) - _MOST_TOLD
    return "; ".join(few[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")


def by_machine(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Of (machine, reason): machines with the same reason share it, under the name of the first."""
    machines: dict[str, list[str]] = {}
    for machine, reason in reasons:
        machines.setdefault(reason, []).append(machine)
    return [
        f"{names[0]}: {reason}" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more: {reason}"
        for reason, names in machines.items()
    ]
