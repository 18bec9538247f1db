"""Where a bundle's files come from: one table. None of them reads conversations, prompts, keys or their kind.

Adding a source is adding an entry. A source that fails leaves a file that says so; the others go on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.support.sources.box import boots, jobs, machine, settings
from appliance.support.sources.context import Context, Part
from appliance.support.sources.hardware import hardware
from appliance.support.sources.logs import UNITS, log_of, logs
from appliance.support.sources.packages import packages
from appliance.support.sources.storage import storage


@dataclass(frozen=True)
class Source:
    """`read` gives the parts one by one."""

    name: str
    read: Callable[[Context], Iterator[Part]]


SOURCES = (
    Source("machine", machine),
    Source("settings", settings),
    Source("jobs", jobs),
    Source("boots", boots),
    Source("storage", storage),
    Source("hardware", hardware),
    Source("packages", packages),
    Source("logs", logs),
)

__all__ = ["SOURCES", "UNITS", "Context", "Part", "Source", "log_of"]
