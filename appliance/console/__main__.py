"""`python -m appliance.console TERMINAL...`: the box's screen and keyboard on each of these devices.

One process for all of them: what it imports, and what it looks at, is most of what a screen costs.
"""

import logging
import os
import signal
import sys
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from appliance.console.effects import Deeds
from appliance.console.program import Console
from appliance.console.watching import Watch
from appliance.host import brokered
from appliance.settings import load_settings


def main() -> None:
    if len(sys.argv) == 1:
        sys.exit("usage: python3 -m appliance.console TERMINAL...")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    settings, kind = load_settings(), os.environ.get("TERM", "linux")
    host = brokered(settings)
    watch = Watch(settings, host)
    consoles = [Console(watch, Deeds(settings, host), Path(path), kind) for path in sys.argv[1:]]

    def stop(*_: object) -> None:
        for console in consoles:
            console.stop()

    # so that each terminal gets its settings back
    signal.signal(signal.SIGTERM, stop)
    watch.start()
    with ThreadPoolExecutor(len(consoles)) as threads:
        shown = [threads.submit(console.run) for console in consoles]
        # what breaks one ends them all, and systemd starts them anew
        wait(shown, return_when=FIRST_EXCEPTION)
        stop()
    for ended in shown:
        ended.result()


if __name__ == "__main__":
    main()
