"""`python -m appliance.host`: the broker, until SIGTERM. Tunnels stay as they are when it ends."""

import logging
import signal
import sys
import threading

from appliance.errors import Refusal
from appliance.host.broker import Broker
from appliance.host.choice import this_machine
from appliance.host.contract import Host
from appliance.host.permitted import MEDIA_DIR
from appliance.settings import load_settings

log = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s host %(levelname)s %(message)s", stream=sys.stderr
    )
    settings = load_settings()
    host = this_machine(settings)
    _end_support(host)
    # the twin's stick lies beside its memory
    folders = (settings.state_dir / "updates", MEDIA_DIR, settings.host_dir / "stick")
    with Broker(settings.broker_socket, host, settings.wireguard_interface, folders) as broker:
        # shutdown waits for the loop, so it can't run on the loop's own thread
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=broker.shutdown).start())
        signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=broker.shutdown).start())
        broker.serve_forever(poll_interval=0.2)
    settings.broker_socket.unlink(missing_ok=True)


def _end_support(host: Host) -> None:
    """Nobody counts the time of a session that a former broker left open."""
    try:
        host.close_support()
    except Refusal as refusal:
        log.warning("could not look for a support session: %s", refusal)


if __name__ == "__main__":
    main()
