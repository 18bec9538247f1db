"""What may pass a support tunnel: TCP from the vendor to one port of ours, and our answers. Nothing else.

A table of the tunnel's own, made before the tunnel is up. Both directions hang on the set `vendor`, whose one
element the kernel forgets at the end of the session; answers of connections that are open hang on it too.
The table `inet cellule` (rootfs/etc/nftables.conf) drops what nobody allowed, so for the time of a session
its chains `support_in` and `support_out` let the tunnel and its outer packets pass.
"""

import math
from ipaddress import IPv4Address

from appliance.host.linux.commands import attempt, call
from appliance.host.linux.firewall import remove_rules, table_name
from appliance.host.support import FIREWALL_MARK, SUPPORT_NETWORK, SUPPORT_PORT, SupportPlan

_OUTER = "inet cellule"


def open_rules(interface: str, plan: SupportPlan, seconds: float) -> None:
    """Raises NotPermitted, HostFailed."""
    call("nft", "-f", "-", stdin=support_ruleset(interface, plan, seconds))


def cut_off(interface: str, vendor: IPv4Address) -> None:
    """From the next packet on nothing passes; no table is fine."""
    attempt("nft", "delete", "element", "inet", table_name(interface), "vendor", f"{{ {vendor} }}")


def close_rules(interface: str) -> None:
    """Takes the table away and shuts the box's own chains; none is fine."""
    remove_rules(interface)
    for chain in ("support_in", "support_out"):
        attempt("nft", "flush", "chain", *_OUTER.split(), chain)


def support_ruleset(interface: str, plan: SupportPlan, seconds: float) -> str:
    """Text for `nft -f`: all of it or nothing."""
    name, table = interface, table_name(interface)
    address, _, port = plan.endpoint.rpartition(":")
    towards = f"{'ip6' if address.startswith('[') else 'ip'} daddr {address.strip('[]')} udp dport {port}"
    return f"""\
table inet {table}
delete table inet {table}
table inet {table} {{
    set vendor {{
        type ipv4_addr
        flags timeout
        elements = {{ {plan.vendor_address} timeout {math.ceil(seconds)}s }}
    }}
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        iifname "lo" accept
        iifname != "{name}" ip daddr {SUPPORT_NETWORK} counter drop comment "tunnel address from outside"
        iifname != "{name}" ip saddr {SUPPORT_NETWORK} counter drop comment "spoofed tunnel source"
        iifname != "{name}" accept
        ip saddr @vendor ip daddr {plan.box_address} tcp dport {SUPPORT_PORT} accept
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
        oifname != {{ "lo", "{name}" }} ip daddr {SUPPORT_NETWORK} counter drop comment "tunnel is down"
    }}
    chain into_tunnel {{
        ip saddr {plan.box_address} ip daddr @vendor tcp sport {SUPPORT_PORT} ct state established accept
        counter drop comment "the box calls nobody"
    }}
}}
table {_OUTER} {{
    chain support_in {{ }}
    chain support_out {{ }}
}}
flush chain {_OUTER} support_in
flush chain {_OUTER} support_out
add rule {_OUTER} support_in iifname "{name}" accept
add rule {_OUTER} support_out oifname "{name}" accept
add rule {_OUTER} support_out meta mark {FIREWALL_MARK:#x} {towards} accept
"""
