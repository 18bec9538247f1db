"""`python -m appliance.support`: the service for the vendor's commands, while a session is open."""

import logging
import signal
import sys

from appliance.settings import load_settings
from appliance.support.service import serve


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s support %(levelname)s %(message)s", stream=sys.stderr
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(load_settings())


if __name__ == "__main__":
    main()
