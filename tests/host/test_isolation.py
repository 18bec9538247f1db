"""What a tunnel lets through, tried on real tunnels between a box and two workers that work together.

The hostile workers have root: they widen their routes and allowed addresses and have no rules of their
own. Each path is tried without the box's rules too, where it must be open: else the test would prove nothing.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.host import FirewallKind, FirewallLink, FirewallPlan, Peer, TunnelPlan
from appliance.host.linux import LinuxHost
from tests.netlab import Lab
from tests.waiting import wait_until

pytestmark = pytest.mark.root

FRONT, ADMIN, ENGINE, SSH, PIECES = 8443, 9443, 8000, 22, 8010
PORT = 51821


@dataclass
class Town:
    """Box at 10.77.0.1, workers a and b at .2 and .3, a client on the LAN; listeners on every port in use."""

    lab: Lab
    hosts: dict[str, LinuxHost]
    keys: dict[str, str]
    listeners: list[socket.socket] = field(default_factory=list)

    def tunnel(self, name: str) -> str:
        return f"10.77.0.{self.lab.names.index(name) + 1}"

    def listen(self, name: str, address: str, port: int) -> None:
        with self.lab.inside(name):
            self.listeners.append(socket.create_server((address, port)))

    def reaches(self, name: str, address: str, port: int) -> bool:
        """Whether a connection is taken within half a second."""
        with self.lab.inside(name):
            try:
                socket.create_connection((address, port), timeout=0.5).close()
            except OSError:
                return False
        return True

    def bring_up(self, name: str, plan: TunnelPlan) -> None:
        with self.lab.inside(name):
            self.hosts[name].apply_tunnel(plan)

    def guard(self, name: str, plan: FirewallPlan) -> None:
        with self.lab.inside(name):
            self.hosts[name].apply_firewall(plan)

    def unguard(self, name: str) -> None:
        self.lab.run(name, ["nft", "flush", "ruleset"])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    names = ("box", "a", "b", "client")
    with Lab(*names) as lab, ExitStack() as cleanup:
        folder: Callable[[str], Path] = tmp_path_factory.mktemp
        hosts = {name: LinuxHost(folder(name) / "key", folder(f"{name}-memory")) for name in names[:3]}
        town = Town(lab, hosts, {name: host.ensure_wireguard_key() for name, host in hosts.items()})
        town.bring_up("box", box_tunnel(town))
        for name in ("a", "b"):
            town.bring_up(name, hostile_tunnel(town, name))
        town.listen("box", "0.0.0.0", FRONT)
        town.listen("box", "0.0.0.0", ADMIN)
        for name in ("a", "b"):
            town.listen(name, town.tunnel(name), ENGINE)
            town.listen(name, town.tunnel(name), PIECES)
            town.listen(name, "0.0.0.0", SSH)
        lab.run("box", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        set_up_side_doors(lab)
        for listener in town.listeners:
            cleanup.callback(listener.close)
        yield town


def box_tunnel(town: Town) -> TunnelPlan:
    return TunnelPlan(
        interface=town.lab.tunnel_name("box"),
        address=IPv4Interface("10.77.0.1/16"),
        listen_port=PORT,
        peers=tuple(
            Peer(public_key=town.keys[name], allowed_ips=(IPv4Network(town.tunnel(name)),)) for name in "ab"
        ),
    )


def hostile_tunnel(town: Town, name: str) -> TunnelPlan:
    """A worker that routes the whole tunnel network into its tunnel, and an outer address of the box.

    "b" also lets the LAN's client in through its tunnel, as an accomplice on the LAN would want it.
    """
    drawn = ["10.77.0.0/16", "10.98.0.1/32"]
    if name == "b":
        drawn.append(f"{town.lab.address('client')}/32")
    return TunnelPlan(
        interface=town.lab.tunnel_name(name),
        address=IPv4Interface(f"{town.tunnel(name)}/16"),
        peers=(
            Peer(
                public_key=town.keys["box"],
                allowed_ips=tuple(IPv4Network(text) for text in drawn),
                endpoint=f"{town.lab.address('box')}:{PORT}",
            ),
        ),
    )


def set_up_side_doors(lab: Lab) -> None:
    """An outer address of the box, and LAN routes to tunnel addresses (the weak host model)."""
    lab.run("box", ["ip", "address", "add", "10.98.0.1/32", "dev", "eth0"])
    for target, through in (("10.77.0.1", "box"), ("10.77.0.2", "a"), ("10.77.0.3", "box")):
        lab.run("client", ["ip", "route", "add", f"{target}/32", "via", lab.address(through)])
    # replies to the client must be able to go home whichever way its packets came
    for name in ("box", "a", "b"):
        for which in ("all", "eth0"):
            lab.run(name, ["sysctl", "-qw", f"net.ipv4.conf.{which}.rp_filter=0"])


def box_rules(town: Town, *others: str) -> FirewallPlan:
    return FirewallPlan(
        interface=town.lab.tunnel_name("box"),
        kind=FirewallKind.BOX,
        own_address=IPv4Address("10.77.0.1"),
        others=tuple(IPv4Address(town.tunnel(name)) for name in others),
        offered_ports=(FRONT,),
        called_ports=(ENGINE,),
        guarded=(IPv4Network("10.77.0.0/16"),),
    )


def worker_rules(town: Town, name: str) -> FirewallPlan:
    return FirewallPlan(
        interface=town.lab.tunnel_name(name),
        kind=FirewallKind.WORKER,
        own_address=IPv4Address(town.tunnel(name)),
        others=(IPv4Address("10.77.0.1"),),
        offered_ports=(ENGINE,),
        called_ports=(FRONT,),
        guarded=(IPv4Network(town.tunnel(name)), IPv4Network("10.77.0.1/32")),
    )


WANTED = (
    ("the box calls a worker's engine", "box", "10.77.0.2", ENGINE),
    ("a worker calls the box's front", "a", "10.77.0.1", FRONT),
)
AGAINST_BOX_RULES = (
    ("a worker calls another port of the box", "a", "10.77.0.1", ADMIN),
    ("a worker calls another worker's engine through the box", "a", "10.77.0.3", ENGINE),
    ("a worker calls another worker's ssh through the box", "a", "10.77.0.3", SSH),
    ("a worker calls an outer address of the box through the tunnel", "a", "10.98.0.1", ADMIN),
    ("the LAN calls the box's tunnel address", "client", "10.77.0.1", FRONT),
    ("the LAN calls a worker's engine through the box", "client", "10.77.0.3", ENGINE),
    ("the box calls another port of a worker", "box", "10.77.0.2", SSH),
)
AGAINST_WORKER_RULES = (
    ("the LAN calls a worker's engine at the worker", "client", "10.77.0.2", ENGINE),
    ("the box calls a worker's ssh", "box", "10.77.0.2", SSH),
)
Path4 = tuple[str, str, str, int]


def tried(town: Town, paths: tuple[Path4, ...]) -> dict[str, bool]:
    return {what: town.reaches(name, address, port) for what, name, address, port in paths}


def test_without_rules_every_path_is_open(town: Town) -> None:
    for name in ("box", "a", "b"):
        town.unguard(name)
    paths = (*WANTED, *AGAINST_BOX_RULES, *AGAINST_WORKER_RULES)
    assert tried(town, paths) == {what: True for what, *_ in paths}


def test_the_boxs_rules_hold_against_workers_without_any(town: Town) -> None:
    town.unguard("a")
    town.unguard("b")
    town.guard("box", box_rules(town, "a", "b"))
    assert tried(town, WANTED) == {what: True for what, *_ in WANTED}
    assert tried(town, AGAINST_BOX_RULES) == {what: False for what, *_ in AGAINST_BOX_RULES}


def test_a_workers_rules_hold_against_lan_and_box(town: Town) -> None:
    town.unguard("box")
    town.guard("a", worker_rules(town, "a"))
    assert tried(town, WANTED) == {what: True for what, *_ in WANTED}
    assert tried(town, AGAINST_WORKER_RULES) == {what: False for what, *_ in AGAINST_WORKER_RULES}


def test_a_worker_cant_speak_as_another(town: Town) -> None:
    town.unguard("a")
    town.guard("box", box_rules(town, "a", "b"))
    tunnel = town.lab.tunnel_name("a")
    town.lab.run("a", ["ip", "address", "add", "10.77.0.3/32", "dev", tunnel])
    try:
        ping = ["ping", "-q", "-c2", "-i0.2", "-W0.5", "10.77.0.1"]
        assert town.lab.run("a", ping, check=False).returncode == 0
        assert town.lab.run("a", [*ping, "-I", "10.77.0.3"], check=False).returncode != 0
    finally:
        town.lab.run("a", ["ip", "address", "del", "10.77.0.3/32", "dev", tunnel])


def test_while_the_tunnel_is_down_nothing_leaves_by_another_door(town: Town) -> None:
    """Prompts for a worker must not go to the LAN's router in clear when the interface is gone."""
    town.guard("box", box_rules(town, "a", "b"))
    box = town.hosts["box"]
    with town.lab.inside("box"):
        box.tunnel_status(town.lab.tunnel_name("box"))
    town.lab.run("box", ["ip", "link", "del", town.lab.tunnel_name("box")])
    town.lab.run("box", ["ip", "route", "add", "default", "via", town.lab.address("client")])
    try:
        with town.lab.inside("box"), pytest.raises(OSError, match="refused"):
            socket.create_connection(("10.77.0.2", ENGINE), timeout=1)
    finally:
        town.lab.run("box", ["ip", "route", "del", "default"])
        town.bring_up("box", box_tunnel(town))
    # the remembered endpoints call the workers back at once, without waiting for their keepalive
    wait_until(lambda: town.reaches("box", "10.77.0.2", ENGINE), within_seconds=3, what="the tunnel is back")


def test_a_cut_worker_is_gone_at_once_with_its_open_connections(town: Town) -> None:
    town.guard("box", box_rules(town, "a", "b"))
    with town.lab.inside("box"):
        stream = socket.create_connection(("10.77.0.2", ENGINE), timeout=2)
        town.hosts["box"].cut(town.lab.tunnel_name("box"), (IPv4Address("10.77.0.2"),))
    # the kernel has ended the stream itself: no timeout is waited for
    stream.settimeout(1)
    with pytest.raises(ConnectionAbortedError):
        stream.recv(1)
    assert not town.reaches("a", "10.77.0.1", FRONT)
    assert not town.reaches("box", "10.77.0.2", ENGINE)
    assert town.reaches("box", "10.77.0.3", ENGINE)
    town.bring_up("box", box_tunnel(town))
    town.guard("box", box_rules(town, "a", "b"))
    wait_until(lambda: town.reaches("a", "10.77.0.1", FRONT), within_seconds=15, what="a is back")


def linked_tunnel(town: Town, name: str, other: str, port: int) -> TunnelPlan:
    """A worker whose peers are the box and, directly, another worker."""
    box, *_ = hostile_tunnel(town, name).peers
    there = Peer(
        public_key=town.keys[other],
        allowed_ips=(IPv4Network(town.tunnel(other)),),
        endpoint=f"{town.lab.address(other)}:{port}",
    )
    here = box.model_copy(update={"allowed_ips": (IPv4Network("10.77.0.1"),)})
    return TunnelPlan(
        interface=town.lab.tunnel_name(name),
        address=IPv4Interface(f"{town.tunnel(name)}/32"),
        peers=(here, there),
    )


def test_two_linked_workers_reach_the_ports_of_their_link_and_nothing_else(town: Town) -> None:
    """Worker a gives pieces to b; each one's rules are tried against another side that has none."""
    ports = {}
    for name in ("a", "b"):
        with town.lab.inside(name):
            ports[name] = town.hosts[name].tunnel_status(town.lab.tunnel_name(name)).listen_port or 0
    town.guard("box", box_rules(town, "a", "b"))
    for name, other in (("a", "b"), ("b", "a")):
        town.unguard(name)
        town.bring_up(name, linked_tunnel(town, name, other, ports[other]))
    paths = [(one, other, port) for one, other in (("a", "b"), ("b", "a")) for port in (PIECES, ENGINE, SSH)]
    wait_until(
        lambda: all(town.reaches(one, town.tunnel(other), port) for one, other, port in paths),
        within_seconds=10,
        what="without rules all of it is open",
    )
    guarded = (IPv4Network(town.tunnel("a")), IPv4Network(town.tunnel("b")), IPv4Network("10.77.0.1"))
    for name, other, offered, called in (("a", "b", (PIECES,), ()), ("b", "a", (), (PIECES,))):
        link = FirewallLink(
            address=IPv4Address(town.tunnel(other)), offered_ports=offered, called_ports=called
        )
        town.guard(name, worker_rules(town, name).model_copy(update={"links": (link,), "guarded": guarded}))
        open_paths = {(one, port) for one, far, port in paths if town.reaches(one, town.tunnel(far), port)}
        assert open_paths == {("b", PIECES)}, f"with the rules of {name} alone"
        # neither the box nor the LAN reaches pieces, and what was open before stays open
        assert not town.reaches("box", town.tunnel(name), PIECES)
        assert not town.reaches("client", town.tunnel(name), PIECES)
        assert town.reaches("box", town.tunnel(name), ENGINE)
        assert town.reaches(name, "10.77.0.1", FRONT)
        town.unguard(name)


def test_the_route_to_a_worker_goes_with_the_link(town: Town) -> None:
    plan = linked_tunnel(town, "a", "b", PORT)
    town.bring_up("a", plan)
    shown = ["ip", "route", "show", "dev", town.lab.tunnel_name("a")]
    assert town.tunnel("b") in town.lab.run("a", shown).stdout
    town.bring_up("a", plan.model_copy(update={"peers": plan.peers[:1]}))
    left = town.lab.run("a", shown).stdout
    assert town.tunnel("b") not in left and "10.77.0.1" in left


def test_a_link_takes_no_rights_from_others_and_the_box_has_none(town: Town) -> None:
    box_and_link = FirewallLink(address=IPv4Address("10.77.0.1"), offered_ports=(PIECES,))
    for plan in (worker_rules(town, "a"), box_rules(town, "a")):
        with pytest.raises(ValidationError):
            FirewallPlan.model_validate({**plan.model_dump(), "links": (box_and_link.model_dump(),)})
