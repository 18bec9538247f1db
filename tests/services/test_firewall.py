"""The box's firewall as it ships, in a LAN of its own: what gets in, what gets out, and tunnels beside it.

Each door is tried before the rules are loaded, too, when it must be open: else the test would prove nothing.
"""

import array
import fcntl
import select
import socket
import termios
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from appliance.host import FirewallKind, FirewallPlan, Outbound, Peer, TunnelPlan
from appliance.host.linux import LinuxHost
from appliance.host.linux.outbound import outbound_rules
from appliance.host.machine import MachinePlan
from tests.netlab import Lab
from tests.waiting import wait_until

pytestmark = pytest.mark.root

RULES = Path(__file__).parents[2] / "rootfs" / "etc" / "nftables.conf"
TCP_PORTS = (22, 53, 80, 111, 139, 443, 445, 2049, 5353, 8000, 8080, 9464, 51820)
UDP_PORTS = (53, 67, 111, 123, 137, 443, 500, 1900, 5353, 5355, 51820)
WAIT_SECONDS = 0.7


def load(lab: Lab, computer: str = "box") -> None:
    """The rules as the box loads them; only the tunnel's interface has the name that it has in this lab."""
    text = RULES.read_text()
    assert text.count('"wg0"') == 2
    lab.run(computer, ["nft", "-f", "-"], stdin=text.replace('"wg0"', f'"{lab.tunnel_name(computer)}"'))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("box", "pc") as lab:
        for number, name in enumerate(lab.names, 1):
            lab.run(name, ["ip", "-6", "address", "add", f"fd99::{number}/64", "dev", "eth0", "nodad"])
        yield lab


@pytest.fixture
def doors(lab: Lab) -> Iterator[dict[int, socket.socket]]:
    """The box listens on every port of the tables, as if each service of a careless system ran there."""
    with ExitStack() as cleanup, lab.inside("box"):
        for port in TCP_PORTS:
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            cleanup.enter_context(listener)
        opened = {port: cleanup.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for port in UDP_PORTS}
        for port, door in opened.items():
            door.bind(("0.0.0.0", port))
            door.setblocking(False)
        yield opened


def open_tcp_ports(lab: Lab, address: str, ports: Iterable[int] = TCP_PORTS) -> set[int]:
    """Those of `ports` at `address` that take a connection of the PC, all tried at once."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as cleanup, lab.inside("pc"):
        calls = {cleanup.enter_context(socket.socket(family)): port for port in ports}
        for call, port in calls.items():
            call.setblocking(False)
            call.connect_ex((address, port))
        poll = select.poll()
        for call in calls:
            poll.register(call, select.POLLOUT)
        answered: dict[int, int] = {}
        while len(answered) < len(calls) and (news := poll.poll(WAIT_SECONDS * 1000)):
            for descriptor, what in news:
                answered[descriptor] = what
                poll.unregister(descriptor)
        return {port for call, port in calls.items() if answered.get(call.fileno()) == select.POLLOUT}


def heard_udp_ports(lab: Lab, doors: dict[int, socket.socket], *, ttl: int = 255) -> set[int]:
    """The ports at which a datagram of the PC arrives."""
    with lab.inside("pc"), socket.socket(type=socket.SOCK_DGRAM) as call:
        call.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        for port in doors:
            call.sendto(b"knock", (lab.address("box"), port))
    heard = set()
    while ready := select.select(doors.values(), [], [], WAIT_SECONDS)[0]:
        for door in ready:
            door.recv(100)
            heard.add(door.getsockname()[1])
    return heard


def test_only_the_listed_ports_can_be_reached(lab: Lab, doors: dict[int, socket.socket]) -> None:
    assert open_tcp_ports(lab, lab.address("box")) == set(TCP_PORTS)
    assert open_tcp_ports(lab, "fd99::1") == set(TCP_PORTS)
    assert heard_udp_ports(lab, doors) == set(UDP_PORTS)
    load(lab)
    assert open_tcp_ports(lab, lab.address("box")) == {80, 443}
    assert open_tcp_ports(lab, "fd99::1") == set(), "IPv6 is not offered"
    assert heard_udp_ports(lab, doors) == {5353, 51820}
    assert heard_udp_ports(lab, doors, ttl=64) == {51820}, "mDNS comes from this link alone"


def test_pings_are_answered_but_not_a_flood(lab: Lab) -> None:
    load(lab)
    ping = ["ping", "-n", "-q", "-W1", lab.address("box")]
    assert "3 received" in lab.run("pc", [*ping, "-c3", "-i0.1"]).stdout
    flood = lab.run("pc", [*ping, "-c200", "-i0.002"], check=False).stdout
    assert 20 <= int(flood.split(" received")[0].rpartition(" ")[2]) <= 60


def test_the_box_calls_nobody_until_an_admin_allows_it(lab: Lab) -> None:
    with lab.inside("pc"):
        channel, other = socket.create_server(("0.0.0.0", 8443)), socket.create_server(("0.0.0.0", 8444))
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        datagrams.bind(("0.0.0.0", 123))
    with closing(channel), closing(other), closing(datagrams), lab.inside("box"):
        address = lab.address("pc")
        socket.create_connection((address, 8443), timeout=2).close()
        load(lab)
        for port in (8443, 8444):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, port), timeout=2)
        assert not say_and_hear(datagrams, (address, 123))
        allow(lab, MachinePlan(outbound=(Outbound(host=address, port=8443),), ntp_servers=(address,)))
        socket.create_connection((address, 8443), timeout=2).close()
        assert say_and_hear(datagrams, (address, 123))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, 8444), timeout=2)
        allow(lab, MachinePlan(ntp_servers=("192.0.2.1",)))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, 8443), timeout=2)


@pytest.mark.usefixtures("doors")
def test_loading_the_rules_again_leaves_open_connections_alone(lab: Lab) -> None:
    load(lab)
    with lab.inside("pc"), socket.create_connection((lab.address("box"), 443), timeout=2) as call:
        load(lab)
        call.sendall(b"still here")
        wait_until(lambda: unsent_bytes(call) == 0, within_seconds=2, what="the box took it")


def test_what_is_decided_for_a_tunnel_holds_beside_the_rules(lab: Lab, tmp_path: Path) -> None:
    hosts = {name: LinuxHost(tmp_path / f"{name}.key", tmp_path / name) for name in lab.names}
    keys = {name: host.ensure_wireguard_key() for name, host in hosts.items()}
    load(lab)
    tunnels = {
        "box": tunnel(lab, "box", keys["pc"], "10.77.0.2", None),
        "pc": tunnel(lab, "pc", keys["box"], "10.77.0.1", f"{lab.address('box')}:51820"),
    }
    for name, plan in tunnels.items():
        with lab.inside(name):
            hosts[name].apply_tunnel(plan)
    rules = FirewallPlan(
        interface=lab.tunnel_name("box"),
        kind=FirewallKind.BOX,
        own_address=IPv4Address("10.77.0.1"),
        others=(IPv4Address("10.77.0.2"),),
        offered_ports=(443,),
        called_ports=(8000,),
        guarded=(IPv4Network("10.77.0.0/16"),),
    )
    with lab.inside("box"):
        hosts["box"].apply_firewall(rules)
        front, admin = socket.create_server(("0.0.0.0", 443)), socket.create_server(("0.0.0.0", 8080))
    with lab.inside("pc"):
        engine = socket.create_server(("10.77.0.2", 8000))
        ssh = socket.create_server(("10.77.0.2", 22))
    with closing(front), closing(admin), closing(engine), closing(ssh):
        wait_until(
            lambda: open_tcp_ports(lab, "10.77.0.1", (443, 8080)) == {443},
            within_seconds=10,
            what="the worker reaches the front through its tunnel, and nothing else",
        )
        with lab.inside("box"):
            socket.create_connection(("10.77.0.2", 8000), timeout=2).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("10.77.0.2", 22), timeout=2)


def allow(lab: Lab, plan: MachinePlan) -> None:
    lab.run("box", ["nft", "-f", "-"], stdin=outbound_rules(plan))


def test_a_name_that_is_allowed_opens_nothing_over_ipv6(lab: Lab) -> None:
    with lab.inside("pc"):
        channel = socket.create_server(("::", 8443), family=socket.AF_INET6)
    with closing(channel), lab.inside("box"):
        socket.create_connection(("fd99::2", 8443), timeout=2).close()
        load(lab)
        allow(lab, MachinePlan(outbound=(Outbound(host="channel.example", port=8443),)))
        with pytest.raises(TimeoutError):
            socket.create_connection(("fd99::2", 8443), timeout=WAIT_SECONDS)


def say_and_hear(listener: socket.socket, address: tuple[str, int]) -> bool:
    """Whether a datagram that is sent now arrives."""
    with socket.socket(type=socket.SOCK_DGRAM) as call:
        try:
            call.sendto(b"what time is it?", address)
        except OSError:
            return False
    arrived = bool(select.select([listener], [], [], WAIT_SECONDS)[0])
    if arrived:
        listener.recv(100)
    return arrived


def unsent_bytes(call: socket.socket) -> int:
    """What the other side has not acknowledged (tcp(7), SIOCOUTQ)."""
    waiting = array.array("i", [0])
    fcntl.ioctl(call.fileno(), termios.TIOCOUTQ, waiting)
    return waiting[0]


def tunnel(lab: Lab, name: str, key: str, other: str, endpoint: str | None) -> TunnelPlan:
    own = {"box": "10.77.0.1/16", "pc": "10.77.0.2/16"}[name]
    return TunnelPlan(
        interface=lab.tunnel_name(name),
        address=IPv4Interface(own),
        listen_port=51820 if name == "box" else 51899,
        peers=(Peer(public_key=key, allowed_ips=(IPv4Network(other),), endpoint=endpoint),),
    )
