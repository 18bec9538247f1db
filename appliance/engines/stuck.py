"""An engine that makes no step any more: its process ends itself, and whoever started it starts it anew.

So it is on a PC, too, where nobody else looks. That the event loop turns is proven by being here; a loop that
hangs is for `tending` and the service manager to find.
"""

import asyncio
from collections.abc import Callable

from appliance.engines.served import Served

LOOK_EVERY_SECONDS = 10.0
STUCK_AFTER_LOOKS = 3
"""In a row, each a minute or more after the last step (`Served.is_alive`)."""


async def until_stuck(engine: Callable[[], Served | None]) -> None:
    """Returns once it is. Before it was ever ready it may be loading from a slow disk, and has its time."""
    was_ready, looks = False, 0
    while looks < STUCK_AFTER_LOOKS:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        served = engine()
        was_ready = was_ready or (served is not None and served.ready)
        looks = looks + 1 if served and was_ready and not served.is_alive else 0
