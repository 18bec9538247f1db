"""The process with root against a caller that is not what it should be."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.errors import Broken
from appliance.host import HostFailed, InvalidPlan, NotPermitted, TunnelPlan, TunnelStatus
from appliance.host.broker import Broker
from appliance.host.client import BrokeredHost
from appliance.host.contract import BROKER_ERRORS, FirewallPlan, Peer
from appliance.host.simulated import SimulatedHost
from appliance.host.wire import LINE_LIMIT_BYTES, error_of, failure_of


class ClumsyHost(SimulatedHost):
    """Refuses one verb as a real machine would, and breaks in another as only a bug would."""

    def tunnel_status(self, interface: str) -> TunnelStatus:
        raise HostFailed("wg show failed: No such device", next_step="Look at the log.")

    def remove_tunnel(self, interface: str) -> None:
        raise ZeroDivisionError("a bug with a secret in its words")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run" / "broker.sock"
    with Broker(path, ClumsyHost(tmp_path / "wireguard.key", tmp_path / "host"), "wg0") as broker:
        thread = threading.Thread(target=broker.serve_forever, args=(0.02,))
        thread.start()
        yield path
        broker.shutdown()
        thread.join(5)


def said(path: Path, line: bytes) -> list[dict[str, object]]:
    """What the broker answers to bytes as they are, until it hangs up."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(5)
        caller.connect(str(path))
        caller.sendall(line)
        caller.shutdown(socket.SHUT_WR)
        with caller.makefile("rb") as answers:
            return [json.loads(answer) for answer in answers]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"not json\n",
        b"\xff\xfe\n",
        b'{"verb": "run", "argv": ["sh"]}\n',
        b'{"verb": "tunnel_status"}\n',
        b'{"verb": "tunnel_status", "interface": "wg0; reboot"}\n',
        b'{"verb": "tunnel_status", "interface": "-all"}\n',
        b'{"verb": "tunnel_status", "interface": "wg0", "more": 1}\n',
        b'{"verb": "cut", "interface": "wg0", "addresses": ["10.77.0.2 } ; flush ruleset"]}\n',
    ],
)
def test_nonsense_is_refused_with_a_sentence(path: Path, line: bytes) -> None:
    (answer,) = said(path, line)
    failure = answer["failure"]
    assert isinstance(failure, dict)
    assert failure["code"] == InvalidPlan.code
    assert failure["sentence"]


def test_an_endless_line_ends_the_conversation(path: Path) -> None:
    (answer,) = said(path, b"x" * LINE_LIMIT_BYTES)
    assert answer["failure"]
    assert BrokeredHost(path).ensure_wireguard_key()


def test_a_refusal_comes_back_as_it_was_raised(path: Path) -> None:
    with pytest.raises(HostFailed, match=r"No such device.*Look at the log") as raised:
        BrokeredHost(path).tunnel_status("wg0")
    assert raised.value.next_step == "Look at the log."


@pytest.mark.parametrize(
    "request_line",
    [
        {"verb": "remove_tunnel", "interface": "docker0"},
        {"verb": "tunnel_status", "interface": "wg1"},
        {"verb": "cut", "interface": "wg0", "addresses": ["10.77.0.2", "192.0.2.1"]},
        {"verb": "apply_tunnel", "plan": {"interface": "eth0", "address": "10.77.0.1/16"}},
        {"verb": "apply_tunnel", "plan": {"interface": "wg0", "address": "192.0.2.1/24"}},
        {
            "verb": "apply_tunnel",
            "plan": {
                "interface": "wg0",
                "address": "10.77.0.1/16",
                "peers": [{"public_key": "A" * 43 + "=", "allowed_ips": ["0.0.0.0/0"]}],
            },
        },
        {
            "verb": "apply_firewall",
            "plan": {"interface": "wg0", "kind": "box", "own_address": "10.77.0.1", "guarded": ["0.0.0.0/0"]},
        },
    ],
)
def test_what_is_not_the_boxs_own_tunnel_is_not_touched(
    path: Path, tmp_path: Path, request_line: dict[str, object]
) -> None:
    (answer,) = said(path, json.dumps(request_line).encode() + b"\n")
    failure = answer["failure"]
    assert isinstance(failure, dict)
    assert failure["code"] == NotPermitted.code
    assert not (tmp_path / "host").exists(), "nothing was applied"


def test_every_refusal_survives_the_wire() -> None:
    for kind in BROKER_ERRORS:
        again = error_of(failure_of(kind("A sentence.", next_step="Do it.")))
        assert (type(again), again.sentence, again.next_step) == (kind, "A sentence.", "Do it.")


def test_a_bug_is_told_as_broken_without_its_words_and_the_broker_lives(path: Path) -> None:
    with pytest.raises(Broken, match="ZeroDivisionError") as raised:
        BrokeredHost(path).remove_tunnel("wg0")
    assert "secret" not in str(raised.value)
    assert BrokeredHost(path).ensure_wireguard_key()


def test_a_plan_that_is_repeated_is_no_news(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = BrokeredHost(path)
    plans = [
        TunnelPlan(interface="wg0", address=IPv4Interface("10.77.0.1/16"), mtu=mtu) for mtu in (1420, 1280)
    ]
    with caplog.at_level(logging.INFO):
        for plan in (plans[0], plans[0], plans[1], plans[1]):
            host.apply_tunnel(plan)
        assert caplog.text.count("verb=apply_tunnel") == 2
        host.cut("wg0", (IPv4Address("10.77.0.2"),))
        host.apply_tunnel(plans[1])
    assert caplog.text.count("verb=apply_tunnel") == 3, "a cut undid it"


def test_every_verb_is_logged_with_its_caller_and_without_the_key(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        BrokeredHost(path).ensure_wireguard_key()
        with pytest.raises(HostFailed):
            BrokeredHost(path).tunnel_status("wg0")
    assert f"verb=ensure_wireguard_key user={os.geteuid()}" in caplog.text
    assert "verb=tunnel_status" in caplog.text
    assert "refused (wg show failed" in caplog.text
    assert (tmp_path / "wireguard.key").read_text().strip() not in caplog.text


def test_only_its_owner_can_open_the_socket(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.root
def test_another_user_is_hung_up_on_although_the_socket_is_open(path: Path) -> None:
    path.chmod(0o666)
    program = (
        "import socket,sys; s=socket.socket(1); s.connect(sys.argv[1]); s.sendall(b'{}\\n'); print(s.recv(9))"
    )
    readable = "-all,+dac_read_search"
    done = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=65534", "--clear-groups", f"--inh-caps={readable}",
         f"--ambient-caps={readable}", sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout == "b''\n" or "ConnectionReset" in done.stderr or "BrokenPipe" in done.stderr, done


A_KEY = b64encode(bytes(32)).decode()


@pytest.mark.parametrize("interface", ["", "WG0", "wg-0", "wg0/x", "a" * 16, "0wg", 'wg"', "wg0\n"])
def test_an_interface_is_a_plain_name(interface: str) -> None:
    with pytest.raises(ValidationError):
        TunnelPlan.model_validate({"interface": interface, "address": "10.77.0.1/16"})


@pytest.mark.parametrize(
    "key", ["", "A" * 44, A_KEY[:-1], A_KEY + "\nEndpoint = 1.2.3.4:5", b64encode(bytes(31)).decode()]
)
def test_a_key_is_32_bytes_of_base64(key: str) -> None:
    with pytest.raises(ValidationError):
        Peer(public_key=key, allowed_ips=(IPv4Network("10.77.0.2/32"),))


@pytest.mark.parametrize(
    "endpoint", ["host.example:51820", "1.2.3.4", "1.2.3.4:5\nPostUp = sh", "[::1]", "1.2.3.4:"]
)
def test_an_endpoint_is_an_address_and_a_port(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        Peer(public_key=A_KEY, allowed_ips=(), endpoint=endpoint)


def test_a_plan_cant_be_changed_after_its_check() -> None:
    plan = FirewallPlan.model_validate(
        {"interface": "wg0", "kind": "box", "own_address": "10.77.0.1", "guarded": ["10.77.0.0/16"]}
    )
    with pytest.raises(ValidationError):
        plan.own_address = IPv4Address("10.77.0.2")  # type: ignore[misc]
