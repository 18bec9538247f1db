"""The connections outward that an admin enabled, as the chain `allowed_out` of the table `inet cellule`.

An address is matched exactly. A name is matched by protocol and port alone: what it resolves to changes by
the hour with large providers, and a rule made of yesterday's answer would cut off updates without a word.
What dials is the box's own code, to names that an admin wrote; the rule only keeps everything else shut. For
a name DNS is opened as well; for time from DHCP, NTP towards private addresses (RFC 1918) of a LAN's server.
"""

from ipaddress import AddressValueError, IPv4Address

from appliance.host.linux.commands import call
from appliance.host.machine import MachinePlan, Outbound, Protocol

_PRIVATE = "{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }"


def outbound_rules(plan: MachinePlan) -> str:
    """The chain as text for `nft -f`: it takes the place of the one before in one step."""
    time = tuple(
        Outbound(host=server, port=123, protocol=Protocol.UDP, why="time") for server in plan.ntp_servers
    )
    allowed = (*plan.outbound, *time)
    rules = {_rule(each) for each in allowed}
    if any(_address(each.host) is None for each in allowed):
        rules |= {"udp dport 53 accept", "tcp dport 53 accept"}
    if not plan.ntp_servers:
        rules.add(f"ip daddr {_PRIVATE} udp dport 123 accept")
    lines = "".join(f"add rule inet cellule allowed_out {rule}\n" for rule in sorted(rules))
    return (
        "add table inet cellule\nadd chain inet cellule allowed_out\n"
        f"flush chain inet cellule allowed_out\n{lines}"
    )


def apply_outbound(plan: MachinePlan) -> None:
    """Raises NotPermitted, HostFailed."""
    call("nft", "-f", "-", stdin=outbound_rules(plan))


def _rule(allowed: Outbound) -> str:
    address = _address(allowed.host)
    towards = "" if address is None else f"ip daddr {address} "
    return f"{towards}{allowed.protocol} dport {allowed.port} accept"


def _address(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(host)
    except AddressValueError:
        return None
