"""Every table, in the order in which it came to be. A migration that has shipped is never edited.

The other slot of the box may open a file after a newer version wrote it. So a migration is one of two kinds
(decision 0006): additive, when an older version works as before on what it leaves, or two-way, when it says
how it is undone. Tests hold the tables of both files to that.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """SQL statements applied in one transaction together with their record. Times are epoch seconds.

    Without `down` it is additive: new tables and indexes, new columns that are NULL or have a default,
    nothing else. With `down` it is two-way: those statements take it back, keeping the data of the old
    columns. They are recorded in the file, for the version that runs them doesn't know this migration.
    """

    name: str
    statements: tuple[str, ...]
    down: tuple[str, ...] = ()

    @property
    def is_additive(self) -> bool:
        return not self.down
