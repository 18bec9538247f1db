"""The rules of a tunnel as one nftables table, replaced in one step and named for its interface.

An address on an interface isolates nothing: Linux answers for any of its addresses on any interface
(the weak host model, RFC 1122 section 3.3.4.2). So at prerouting, before anything else looks at a packet:
tunnel addresses are spoken to and from through the tunnel only, the tunnel reaches our own tunnel
address only, and only the peers that the plan names. A linked worker has the ports of its link and no more.
Nothing is forwarded, either way. What is not listed is dropped in both directions, and nothing for the
tunnel may leave by another door while it is down.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address

from appliance.host.contract import FirewallKind, FirewallLink, FirewallPlan
from appliance.host.linux.commands import attempt, call

ONE_CALLER = "limit rate over 20/second burst 60 packets"
"""What one worker may begin at the box, so that a wild one takes nothing from the others."""
ECHO_REQUESTS = "icmp type echo-request"


def table_name(interface: str) -> str:
    """The nftables table of an interface."""
    return f"cellule_{interface}"


def ruleset(plan: FirewallPlan) -> str:
    """The table as text for `nft -f`: it replaces the one before in the same transaction."""
    table, name = table_name(plan.interface), plan.interface
    guarded = f"{{ {', '.join(map(str, plan.guarded))} }}"
    return f"""\
table inet {table}
delete table inet {table}
table inet {table} {{
    {_sets(plan)}
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        iifname "lo" accept
        iifname != "{name}" ip daddr {guarded} counter drop comment "tunnel address from outside"
        iifname != "{name}" ip saddr {guarded} counter drop comment "spoofed tunnel source"
        iifname "{name}" ip daddr != {plan.own_address} counter drop comment "beyond our own address"
        iifname "{name}" ip saddr != @others ip saddr != @links counter drop comment "not {_other(plan.kind)}"
        iifname "{name}" meta nfproto ipv6 counter drop
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "{name}" jump from_tunnel
    }}
    chain from_tunnel {{
        ct state established,related accept
        ct state invalid drop
        {_link_rules("saddr", plan.links)}
        ip saddr @links counter drop comment "not offered to this worker"
        {_calm(plan.kind)}
        {_accept(plan.offered_ports)}
        {ECHO_REQUESTS} accept
        counter drop comment "not offered"
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{name}" counter drop
        oifname "{name}" counter drop
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        oifname "{name}" jump into_tunnel
        oifname != {{ "lo", "{name}" }} ip daddr {guarded} counter reject comment "tunnel is down"
    }}
    chain into_tunnel {{
        ct state established,related accept
        meta nfproto ipv6 counter reject
        {_link_rules("daddr", plan.links)}
        ip daddr != @others counter reject comment "not {_other(plan.kind)}"
        {_accept(plan.called_ports)}
        {ECHO_REQUESTS} accept
        counter reject comment "not called"
    }}
}}
"""


def _sets(plan: FirewallPlan) -> str:
    """Who is on the other side, who is linked for a hand-out, and who called lately."""
    return f"""\
set others {{
        type ipv4_addr
        {_elements(plan.others)}
    }}
    set links {{
        type ipv4_addr
        {_elements(link.address for link in plan.links)}
    }}
    set callers {{
        type ipv4_addr
        size 65535
        flags dynamic
        timeout 1m
    }}"""


def apply_rules(plan: FirewallPlan) -> None:
    """Replaces the interface's table. Raises NotPermitted, HostFailed."""
    call("nft", "-f", "-", stdin=ruleset(plan))


def forget_addresses(interface: str, addresses: Iterable[IPv4Address]) -> None:
    """Takes addresses out of the set, so that their packets stop now; a set without them is fine."""
    for address in addresses:
        attempt("nft", "delete", "element", "inet", table_name(interface), "others", f"{{ {address} }}")


def remove_rules(interface: str) -> None:
    """Takes the interface's table away; none is fine."""
    attempt("nft", "delete", "table", "inet", table_name(interface))


def _elements(addresses: Iterable[IPv4Address]) -> str:
    listed = ", ".join(str(address) for address in sorted(addresses))
    return f"elements = {{ {listed} }}" if listed else ""


def _accept(ports: tuple[int, ...]) -> str:
    return f"tcp dport {{ {', '.join(map(str, sorted(set(ports))))} }} accept" if ports else ""


def _link_rules(side: str, links: Iterable[FirewallLink]) -> str:
    """Each linked worker's ports: ours that it may call (by its source address), or its that we may."""
    pairs = [
        f"{link.address} . {port}"
        for link in sorted(links, key=lambda link: link.address)
        for port in (link.offered_ports if side == "saddr" else link.called_ports)
    ]
    return f"ip {side} . tcp dport {{ {', '.join(pairs)} }} accept" if pairs else ""


def _calm(kind: FirewallKind) -> str:
    match kind:
        case FirewallKind.BOX:
            return f'update @callers {{ ip saddr {ONE_CALLER} }} counter drop comment "too many calls"'
        case FirewallKind.WORKER:
            # the box is the only caller, and its pool knows how much each engine takes
            return ""


def _other(kind: FirewallKind) -> str:
    match kind:
        case FirewallKind.BOX:
            return "an approved worker"
        case FirewallKind.WORKER:
            return "the box"
