"""`python -m appliance.console`: the screen and keyboard on the terminal that standard input is."""

import logging
import os
import signal
import sys

from appliance.console.program import Console
from appliance.console.terminal import Terminal, TerminalGone
from appliance.host import brokered
from appliance.settings import load_settings


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    settings = load_settings()
    # so that the terminal gets its settings back
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Terminal(sys.stdin.fileno(), os.environ.get("TERM", "linux")) as terminal:
            Console(settings, brokered(settings), terminal).run()
    except TerminalGone as gone:
        sys.exit(str(gone))


if __name__ == "__main__":
    main()
