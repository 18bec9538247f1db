"""The worker's end of the tunnel on this machine: brought up, kept up, called anew, taken down.

Rules and tunnel are made as planned every NETWORK_CHECK_SECONDS, and at once when the interface is gone.
"""

import logging
import socket
import time

from appliance.enrolment.contract import WorkerConfig
from appliance.errors import Refusal
from appliance.handout.contract import Link
from appliance.host import Host
from appliance.worker.tunnel import report_address, worker_firewall, worker_tunnel

log = logging.getLogger(__name__)

NETWORK_CHECK_SECONDS = 10.0
RETRY_SECONDS = 1.0
HANDSHAKE_PATIENCE_SECONDS = (0.3, 0.3, 0.6, 1.2)


class WorkerNetwork:
    """Works on `interface` through `host`, as the box's `config` says."""

    def __init__(self, host: Host, interface: str, config: WorkerConfig) -> None:
        self.config = config
        self._host = host
        self._interface = interface
        self._links: tuple[Link, ...] = ()
        self._check_at = 0.0
        self._retry_at = 0.0

    def bring_up(self) -> None:
        """Rules, then tunnel: nothing is reachable before it is guarded. Raises the errors of `Host`."""
        _host, port = report_address(self.config)
        self._host.apply_firewall(worker_firewall(self.config, self._interface, port, self._links))
        self._host.apply_tunnel(worker_tunnel(self.config, self._interface, self._links))
        self._check_at = time.monotonic() + NETWORK_CHECK_SECONDS

    def adopt(self, config: WorkerConfig) -> None:
        """Works with another configuration of the box from the next `tend` on."""
        self.config = config
        self._check_at = 0.0

    def link(self, links: tuple[Link, ...]) -> None:
        """Has tunnels to exactly these workers from the next `tend` on."""
        if [_needs(link) for link in links] != [_needs(link) for link in self._links]:
            self._check_at = 0.0
        self._links = links

    def tend(self) -> None:
        """Repairs what is not as planned; a failure is logged and tried again. Call it often."""
        now = time.monotonic()
        if now < self._retry_at or (now < self._check_at and self._exists()):
            return
        try:
            self.bring_up()
        except Refusal as error:
            log.error("the tunnel can't be brought up: %s", error)
            self._retry_at = now + RETRY_SECONDS

    def wait_for_handshake(self) -> bool:
        """Whether the box answered in the tunnel, within HANDSHAKE_PATIENCE_SECONDS in all.

        The box learns of our approval a moment after us, so it may not know our first call. WireGuard
        would call again only after 5 s (REKEY_TIMEOUT in its white paper); a peer made anew calls at once.
        """
        for patience in HANDSHAKE_PATIENCE_SECONDS:
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                status = self._host.tunnel_status(self._interface)
                box = self.config.box_public_key
                if any(peer.handshake_at is not None for peer in status.peers if peer.public_key == box):
                    return True
                time.sleep(0.05)
            self.call_anew()
        return False

    def call_anew(self) -> None:
        """Forgets the session with the box and starts another: the box may have lost its half."""
        plan = worker_tunnel(self.config, self._interface, self._links)
        others = tuple(peer for peer in plan.peers if peer.public_key != self.config.box_public_key)
        self._host.apply_tunnel(plan.model_copy(update={"peers": others}))
        self._host.apply_tunnel(plan)

    def take_down(self) -> None:
        """Leaves no interface and no rules on the machine."""
        self._host.remove_tunnel(self._interface)

    def _exists(self) -> bool:
        try:
            socket.if_nametoindex(self._interface)
        except OSError:
            return False
        return True


def _needs(link: Link) -> tuple[str, object, str, bool, bool]:
    """What tunnel and rules must know of a link: not which models, but whether there are some."""
    return link.public_key, link.tunnel_address, link.endpoint, bool(link.gives), bool(link.takes)
