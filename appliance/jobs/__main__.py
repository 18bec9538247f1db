"""`python -m appliance.jobs`: the core daemon."""

import logging
import signal

from appliance.host import brokered
from appliance.jobs.daemon import Daemon
from appliance.settings import load_settings


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # a turn that is left out because the last one still runs is no news
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    settings = load_settings()
    daemon = Daemon(settings, brokered(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop.set())
    daemon.run()


if __name__ == "__main__":
    main()
