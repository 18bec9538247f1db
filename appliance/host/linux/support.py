"""The tunnel of a support session on Linux: opened outward, to one port of ours, until its end at the latest.

Three things end it by themselves, each without the others: the kernel forgets the vendor's address at the
end (a timeout in nftables, so also when this process hangs), this process takes the tunnel away (it looks at
a clock that nobody can set and at the wall clock, and at its own start removes what it finds), and the
session is gone with the next restart of the box, for its key is kept nowhere.
"""

import logging
import threading
import time

from appliance.clock import now
from appliance.errors import Refusal
from appliance.host.contract import Busy, InvalidPlan, Peer, TunnelPlan
from appliance.host.keys import new_private_key, private_text, public_text
from appliance.host.linux.commands import attempt, call
from appliance.host.linux.interface import (
    address_interface,
    create_interface,
    delete_interface,
    interface_kind,
)
from appliance.host.linux.peers import read_dump, sync_peers
from appliance.host.linux.sockets import kill_connections
from appliance.host.linux.support_rules import close_rules, cut_off, open_rules
from appliance.host.support import FIREWALL_MARK, SupportPlan, SupportStatus

UNIT = "cellule-support.service"
LOOK_SECONDS = 1.0
log = logging.getLogger(__name__)


class LinuxSupport:
    """Fulfils `Support` in the network namespace of the process."""

    def __init__(self, interface: str, *, has_unit: bool) -> None:
        self._interface = interface
        self._has_unit = has_unit
        self._session: SupportPlan | None = None
        self._key = ""
        self._deadline = 0.0
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def open_support(self, plan: SupportPlan) -> str:
        with self._lock:
            if self._session is not None:
                raise Busy("A support session is open.", next_step="End it first.")
            seconds = plan.seconds_left(now())
            if seconds <= 0:
                raise InvalidPlan("The end of the session is not in the future.")
            key = new_private_key()
            self._deadline = time.monotonic() + seconds
            self._session, self._key = plan, public_text(key)
            try:
                self._bring_up(plan, private_text(key), seconds)
            except Refusal:
                self.close_support()
                raise
            self._ended.clear()
            threading.Thread(target=self._end_in_time, args=(plan,), daemon=True).start()
            return self._key

    def close_support(self) -> None:
        with self._lock:
            ended, self._session, self._key = self._session, None, ""
            self._ended.set()
            # packets first, then the tunnel, then the connections that now hang, then who served them
            if ended is not None:
                cut_off(self._interface, ended.vendor_address)
            delete_interface(self._interface)
            if ended is not None:
                kill_connections(ended.vendor_address)
            close_rules(self._interface)
            if self._has_unit:
                attempt("systemctl", "--no-block", "stop", UNIT)

    def support_status(self) -> SupportStatus:
        with self._lock:
            session = self._session
            if session is None or interface_kind(self._interface) is None:
                return SupportStatus()
            peer = read_dump(self._interface).peers[0]
            return SupportStatus(
                open=True,
                until=session.until,
                public_key=self._key,
                handshake_at=peer.handshake_at,
                received_bytes=peer.received_bytes,
                sent_bytes=peer.sent_bytes,
            )

    def _bring_up(self, plan: SupportPlan, private_key: str, seconds: float) -> None:
        tunnel = TunnelPlan(
            interface=self._interface,
            address=f"{plan.box_address}/32",
            peers=(
                Peer(
                    public_key=plan.public_key,
                    allowed_ips=(f"{plan.vendor_address}/32",),
                    endpoint=plan.endpoint,
                    keepalive_seconds=15,
                ),
            ),
        )
        # the rules come first: there is no moment in which the tunnel stands without them
        open_rules(self._interface, plan, seconds)
        create_interface(self._interface)
        sync_peers(tunnel, private_key, 0, {})
        # after syncconf, which takes a mark away, and before the interface is up and calls the vendor
        call("wg", "set", self._interface, "fwmark", hex(FIREWALL_MARK))
        address_interface(tunnel)
        if self._has_unit:
            call("systemctl", "--no-block", "start", UNIT)

    def _end_in_time(self, plan: SupportPlan) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if time.monotonic() >= self._deadline or now() >= plan.until:
                break
        with self._lock:
            if self._session is plan:
                log.info("the support session is over")
                self.close_support()
