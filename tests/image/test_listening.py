"""Who listens for a silent box must hear everything else: shown with computers that do talk."""

import socket
from collections.abc import Iterator

import pytest

from tests.image.listening import ALLOWED, Eavesdropper, kind_of
from tests.image.office import Office
from tests.waiting import wait_until

pytestmark = pytest.mark.core

TO_MDNS = ("224.0.0.251", 5353)


@pytest.fixture
def office() -> Iterator[Office]:
    """Two PCs; nobody gives out addresses."""
    with Office("pc", "other") as office:
        yield office


@pytest.fixture
def ear(office: Office) -> Iterator[Eavesdropper]:
    """Listens to the PC."""
    card = office.run("pc", ["cat", "/sys/class/net/eth0/address"]).stdout.strip()
    with Eavesdropper(office, card) as ear:
        yield ear


def heard(ear: Eavesdropper) -> set[str]:
    return {each.kind for each in ear.heard(since=0)}


def test_what_goes_straight_to_another_computer_is_heard(office: Office, ear: Eavesdropper) -> None:
    office.run("pc", ["ping", "-c1", "-W2", office.address("other")])
    wait_until(
        lambda: {"ARP", f"ICMP to {office.address('other')}"} <= heard(ear), within_seconds=5, what="a ping"
    )
    assert f"ICMP to {office.address('pc')}" not in heard(ear), "what the other one sent"
    assert ear.quiet_seconds() < 5


def test_mdns_is_told_from_what_only_looks_like_it(office: Office, ear: Eavesdropper) -> None:
    with office.inside("pc"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
        speaker.bind((office.address("pc"), 5353))
        for ttl in (255, 1):
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            speaker.sendto(b"hello", TO_MDNS)
        speaker.sendto(b"hello", (office.address("other"), 5353))
    others = {
        "UDP from port 5353 to 224.0.0.251 port 5353",
        f"UDP from port 5353 to {office.address('other')} port 5353",
    }
    wait_until(lambda: {"mDNS", *others} <= heard(ear), within_seconds=5, what="all three")
    assert not others & ALLOWED.keys()


def test_who_joins_a_group_or_looks_for_a_name_server_is_heard(office: Office, ear: Eavesdropper) -> None:
    with office.inside("pc"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
        group = socket.inet_aton(TO_MDNS[0]) + socket.inet_aton(office.address("pc"))
        speaker.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        speaker.sendto(b"?", (office.address("other"), 53))
        wait_until(lambda: "IGMP to 224.0.0.22" in heard(ear), within_seconds=5, what="a report of the group")
    assert any(kind.endswith(f"to {office.address('other')} port 53") for kind in heard(ear))


@pytest.mark.parametrize(
    ("ethertype", "kind"), [("0806", "ARP"), ("86dd", "IPv6"), ("88cc", "LLDP"), ("1234", "ethertype 0x1234")]
)
def test_frames_without_ipv4_are_told_by_their_type(ethertype: str, kind: str) -> None:
    assert kind_of(bytes(12) + bytes.fromhex(ethertype) + bytes(46)) == kind


def test_half_a_packet_and_a_later_fragment_are_no_dhcp() -> None:
    header = "4500 0100 0000 {} 4011 0000 00000000 ffffffff"
    ports = "0044 0043 0008 0000"
    whole = bytes(12) + bytes.fromhex(("0800" + header.format("0000") + ports).replace(" ", ""))
    assert kind_of(whole) == "DHCP"
    assert kind_of(whole[:30]) == "ethertype 0x0800"
    fragment = bytes(12) + bytes.fromhex(("0800" + header.format("0010") + ports).replace(" ", ""))
    assert kind_of(fragment) == "UDP to 255.255.255.255"
