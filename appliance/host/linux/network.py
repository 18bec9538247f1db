"""The wired network as one file of systemd-networkd in /run, over the one of the image; and the box's name.

What is kept lies in /etc/cellule, too, and is copied to /run before networkd starts (by tmpfiles.d), so a box
with a static address asks no DHCP server first. What is on trial is in /run alone: no restart keeps it.

Nothing but ARP, DHCP and mDNS leaves an idle box: no IPv6 address, no router solicitation, no LLDP.
"""

import os
from pathlib import Path

from appliance.host.linux.commands import attempt, call
from appliance.host.linux.places import Places
from appliance.host.machine import AddressMethod, MachinePlan, NetworkPlan
from appliance.private_file import sync_folder


def network_unit(network: NetworkPlan, *, own_time: bool) -> str:
    """The text of the .network file; with `own_time` the time servers that DHCP offers are left out."""
    match = f"Name={network.interface}" if network.interface else "Type=ether\nKind=!*"
    dns = "".join(f"DNS={address}\n" for address in network.dns)
    return f"""\
[Match]
{match}

[Network]
{_address(network)}{dns}LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no
EmitLLDP=no
LLMNR=no
MulticastDNS=no

[DHCPv4]
ClientIdentifier=mac
UseDomains=no
UseDNS={_yes(not network.dns)}
UseNTP={_yes(not own_time)}
UseHostname=no
UseTimezone=no
"""


def apply_network(places: Places, plan: MachinePlan) -> None:
    """Writes the file and has networkd take it; before networkd runs the file alone is enough."""
    text = network_unit(plan.network, own_time=bool(plan.ntp_servers))
    changed = write_if_changed(places.run / "systemd/network/50-cellule.network", text)
    if changed and attempt("systemctl", "is-active", "--quiet", "systemd-networkd").returncode == 0:
        # reconfigures the links that a new or changed file matches (networkctl(1))
        call("networkctl", "reload")


def keep_network(places: Places, plan: MachinePlan) -> None:
    """Has the next start begin with this plan's network. Without a data partition nothing is kept."""
    if not os.access(places.kept_network.parents[1], os.W_OK):
        return
    write_if_changed(places.kept_network, network_unit(plan.network, own_time=bool(plan.ntp_servers)))


def apply_hostname(places: Places, hostname: str) -> None:
    """The kernel's name of the machine: /etc, which would hold it otherwise, never changes."""
    name = places.proc / "sys/kernel/hostname"
    if name.read_text().strip() != hostname:
        name.write_text(f"{hostname}\n")


def write_if_changed(path: Path, text: str) -> bool:
    """Whether the file had to be written; then it is on the disk. Daemons of other users read it."""
    make_public_folder(path.parent)
    if path.is_file() and path.read_text() == text:
        return False
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o644)
    draft.replace(path)
    sync_folder(path.parent)
    return True


def make_public_folder(folder: Path) -> None:
    """One that daemons of other users may read: what the broker makes is for root alone otherwise (UMask)."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


def _address(network: NetworkPlan) -> str:
    if network.method is AddressMethod.DHCP:
        return "DHCP=ipv4\n"
    gateway = f"Gateway={network.gateway}\n" if network.gateway else ""
    return f"DHCP=no\nAddress={network.address}\n{gateway}"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
