"""Engines that make way for a model that is waited for: they finish what they answer and are given no more.

Written by placement, which lets each model have its turn; the pool has it in memory and keeps to it. It lives
in cellule.db, where a change is noticed at once, and changes rarely.
"""

from collections.abc import Set

from sqlite_utils import Database

from appliance.storage import Choice, read_choice, write_choice


class MakingWay(Choice):
    """Pairs of node id and model, sorted."""

    engines: tuple[tuple[str, str], ...] = ()


def read_making_way(db: Database) -> frozenset[tuple[str, str]]:
    return frozenset(read_choice(db, MakingWay).engines)


def keep_making_way(db: Database, engines: Set[tuple[str, str]]) -> None:
    """Safe to repeat: what is recorded already is not written again."""
    if read_making_way(db) != engines:
        write_choice(db, MakingWay(engines=tuple(sorted(engines))), chosen_by=None)
