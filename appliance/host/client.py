"""The host as an unprivileged process sees it: the same verbs, performed by the broker."""

import socket
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import JsonValue

from appliance.host.contract import FirewallPlan, HostUnavailable, TunnelPlan, TunnelStatus
from appliance.host.wire import (
    Answer,
    ApplyFirewall,
    ApplyTunnel,
    AskTunnelStatus,
    Cut,
    EnsureWireguardKey,
    RemoveTunnel,
    Request,
    error_of,
)

TIMEOUT_SECONDS = 60


class BrokeredHost:
    """Fulfils `Host` over the broker's socket; every refusal is raised here as it was there.

    Raises HostUnavailable as well, when the broker is away. Each call is a connection of its own, so it
    may be shared by threads and survives a restart of the broker.
    """

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    def ensure_wireguard_key(self) -> str:
        return str(self._ask(EnsureWireguardKey()))

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        self._ask(ApplyTunnel(plan=plan))

    def apply_firewall(self, plan: FirewallPlan) -> None:
        self._ask(ApplyFirewall(plan=plan))

    def cut(self, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
        self._ask(Cut(interface=interface, addresses=addresses))

    def tunnel_status(self, interface: str) -> TunnelStatus:
        return TunnelStatus.model_validate(self._ask(AskTunnelStatus(interface=interface)))

    def remove_tunnel(self, interface: str) -> None:
        self._ask(RemoveTunnel(interface=interface))

    def _ask(self, request: Request) -> JsonValue:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(str(self._socket_path))
                connection.sendall(request.model_dump_json().encode() + b"\n")
                with connection.makefile("rb") as lines:
                    line = lines.readline()
        except OSError as error:
            raise self._unavailable(str(error)) from error
        if not line:
            raise self._unavailable("it hung up")
        answer = Answer.model_validate_json(line)
        if answer.failure is not None:
            raise error_of(answer.failure)
        return answer.result

    def _unavailable(self, why: str) -> HostUnavailable:
        return HostUnavailable(
            f"The host broker does not answer on {self._socket_path}: {why}.",
            retry_after_seconds=2,
            next_step="It is started with the product: python -m appliance.host.",
        )
