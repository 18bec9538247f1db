"""What travels over the broker's socket: one JSON object a line, a request and then its answer."""

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from appliance.errors import Refusal
from appliance.host.contract import BROKER_ERRORS, FirewallPlan, HostFailed, InterfaceName, Plan, TunnelPlan

LINE_LIMIT_BYTES = 1024 * 1024
"""Room for a tunnel of several thousand peers."""


class EnsureWireguardKey(Plan):
    verb: Literal["ensure_wireguard_key"] = "ensure_wireguard_key"


class ApplyTunnel(Plan):
    verb: Literal["apply_tunnel"] = "apply_tunnel"
    plan: TunnelPlan


class ApplyFirewall(Plan):
    verb: Literal["apply_firewall"] = "apply_firewall"
    plan: FirewallPlan


class Cut(Plan):
    verb: Literal["cut"] = "cut"
    interface: InterfaceName
    addresses: tuple[IPv4Address, ...]


class AskTunnelStatus(Plan):
    verb: Literal["tunnel_status"] = "tunnel_status"
    interface: InterfaceName


class RemoveTunnel(Plan):
    verb: Literal["remove_tunnel"] = "remove_tunnel"
    interface: InterfaceName


Request = EnsureWireguardKey | ApplyTunnel | ApplyFirewall | Cut | AskTunnelStatus | RemoveTunnel
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="verb")])


class Failure(Plan):
    """A refusal on its way back: the code names the class, the sentence is for a person."""

    code: str
    sentence: str
    next_step: str = ""


class Answer(Plan):
    """`failure` when the verb was refused, else `result`."""

    result: JsonValue = None
    failure: Failure | None = None


def failure_of(error: Refusal) -> Failure:
    return Failure(code=error.code, sentence=error.sentence, next_step=error.next_step)


def error_of(failure: Failure) -> Refusal:
    """The refusal as the caller raises it again: of the class with its code, else HostFailed."""
    for kind in BROKER_ERRORS:
        if kind.code == failure.code:
            return kind(failure.sentence, next_step=failure.next_step)
    return HostFailed(failure.sentence, next_step=failure.next_step)
