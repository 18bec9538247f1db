"""A session on a real tunnel between a box and a vendor: what is reachable, what is noted, how it ends."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.host import SUPPORT_PORT, Host, SupportPlan, brokered
from appliance.people import Account, audit_lines
from appliance.settings import Settings
from appliance.support import Ending, cut_session, open_session, past_sessions, settle_session
from appliance.support.commands import COMMANDS
from appliance.support.exchange import make_nonce, sign_command
from appliance.support.request import SessionRequest, answer_text
from appliance.support.sessions import Session
from appliance.support.vendor import (
    BoxRefused,
    Connection,
    connect,
    disconnect,
    make_request,
    make_vendor_keys,
)
from tests.netlab import Lab
from tests.support.conftest import REASON
from tests.waiting import wait_until

pytestmark = pytest.mark.root

FIREWALL = Path(__file__).parents[2] / "rootfs/etc/nftables.conf"
BOX_ADDRESS, VENDOR_ADDRESS = "10.78.0.2", "10.78.0.1"
OTHER_PORTS = (443, 8443, 22)
VENDOR_PORT = 51999


@dataclass
class Town:
    """The box at 10.99.0.1, the vendor at .2 and an office PC at .3, on one network."""

    lab: Lab
    listeners: list[socket.socket] = field(default_factory=list)

    def listen(self, name: str, port: int) -> None:
        with self.lab.inside(name):
            self.listeners.append(socket.create_server(("0.0.0.0", port)))

    def reaches(self, name: str, address: str, port: int) -> bool:
        """Whether a connection is taken within half a second."""
        with self.lab.inside(name):
            try:
                socket.create_connection((address, port), timeout=0.5).close()
            except OSError:
                return False
        return True

    def is_served(self) -> bool:
        return self.reaches("vendor", BOX_ADDRESS, SUPPORT_PORT)

    def answers_echo(self, name: str, address: str) -> bool:
        done = self.lab.run(name, ["ping", "-c", "1", "-W", "1", address], check=False)
        return done.returncode == 0


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Lab("box", "vendor", "pc") as lab, ExitStack() as cleanup:
        town = Town(lab)
        for port in OTHER_PORTS:
            town.listen("box", port)
        town.listen("pc", 8443)
        lab.run("box", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        for listener in town.listeners:
            cleanup.callback(listener.close)
        yield town


@dataclass
class Support:
    """Both sides of a session."""

    town: Town
    settings: Settings
    vendor: Path
    db: Database
    activity: Database
    ana: Account
    host: Host
    broker: subprocess.Popen[bytes]
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def vendor_interface(self) -> str:
        return self.town.lab.tunnel_name("vendor")

    def request(self) -> tuple[str, str]:
        endpoint = f"{self.town.lab.address('vendor')}:{VENDOR_PORT}"
        with self.town.lab.inside("vendor"):
            request, text = make_request(self.vendor, engineer="Vera", endpoint=endpoint)
        return request.id, text

    def open(self) -> Session:
        """Consent, the vendor's end of the tunnel, and the service as its unit starts it."""
        session_id, text = self.request()
        session = open_session(
            self.db,
            self.activity,
            self.host,
            self.settings,
            text=text,
            hours=1,
            reason=REASON,
            admin=self.ana,
            address="10.99.0.3",
        )
        self.connect(session_id, session.box_key)
        self.serve()
        return session

    def connect(self, session_id: str, box_key: str) -> None:
        lab, name = self.town.lab, self.settings.support_interface
        port = lab.run("box", ["wg", "show", name, "listen-port"]).stdout.strip()
        with lab.inside("vendor"):
            connect(
                self.vendor,
                session_id,
                answer_text(session_id, box_key),
                self.vendor_interface,
                f"{lab.address('box')}:{port}",
            )

    def serve(self) -> None:
        service = self.town.lab.popen(
            "box", [sys.executable, "-m", "appliance.support"], self.settings.environment()
        )
        self.services.append(service)
        wait_until(self.town.is_served, within_seconds=20, what="the service answers in the tunnel")

    def connection(self, session: Session) -> Connection:
        with self.town.lab.inside("vendor"):
            return Connection(self.vendor, session.id, timeout_seconds=20)

    def has_interface(self) -> bool:
        shown = self.town.lab.run("box", ["ip", "link", "show", self.settings.support_interface], check=False)
        return shown.returncode == 0

    def tables(self) -> str:
        return self.town.lab.run("box", ["nft", "list", "tables"]).stdout

    def details(self, event: str) -> list[str]:
        return [line.detail for line in reversed(audit_lines(self.activity)) if line.event == event]


@pytest.fixture
def support(  # noqa: PLR0917 fixtures
    town: Town, settings: Settings, vendor: Path, db: Database, activity: Database, ana: Account
) -> Iterator[Support]:
    lab = town.lab
    settings = settings.model_copy(
        update={"host_simulated": False, "support_interface": f"s{lab.tunnel_name('box')}"[:15]}
    )
    lab.run("box", ["nft", "flush", "ruleset"])
    lab.run("box", ["nft", "-f", str(FIREWALL)])
    broker = start_broker(lab, settings)
    side = Support(town, settings, vendor, db, activity, ana, brokered(settings), broker)
    yield side
    lab.run("vendor", ["ip", "link", "del", side.vendor_interface], check=False)
    with ExitStack() as ending:
        for service in side.services:
            ending.callback(lab.stop, service)
        ending.callback(lab.stop, side.broker)
        side.host.close_support()
    assert not side.has_interface()


def start_broker(lab: Lab, settings: Settings) -> subprocess.Popen[bytes]:
    broker = lab.popen("box", [sys.executable, "-m", "appliance.host"], settings.environment())
    wait_until(settings.broker_socket.is_socket, within_seconds=20, what="the broker listens")
    return broker


def test_the_vendor_reaches_one_port_of_the_box_and_nothing_else(support: Support) -> None:
    town, lab = support.town, support.town.lab
    assert not town.reaches("vendor", BOX_ADDRESS, SUPPORT_PORT)
    session = support.open()
    # a hostile vendor has root: it sends anything into the tunnel
    peer_key = session.box_key
    lab.run("vendor", ["wg", "set", support.vendor_interface, "peer", peer_key, "allowed-ips", "0.0.0.0/0"])
    pc, box = lab.address("pc"), lab.address("box")
    lab.run("vendor", ["ip", "route", "replace", f"{pc}/32", "dev", support.vendor_interface])
    lab.run("vendor", ["ip", "address", "add", "10.78.0.77/32", "dev", support.vendor_interface])
    reached = {
        (address, port)
        for address in (BOX_ADDRESS, pc, "10.77.0.1")
        for port in (SUPPORT_PORT, *OTHER_PORTS)
        if town.reaches("vendor", address, port)
    }
    assert reached == {(BOX_ADDRESS, SUPPORT_PORT)}
    assert not town.answers_echo("vendor", BOX_ADDRESS)
    # the LAN of the box reaches no end of the tunnel
    lab.run("pc", ["ip", "route", "replace", "10.78.0.0/16", "via", box])
    assert not town.reaches("pc", BOX_ADDRESS, SUPPORT_PORT)
    assert not town.reaches("pc", VENDOR_ADDRESS, 22)
    # and the box itself calls nobody there
    town.listen("vendor", 22)
    assert not town.reaches("box", VENDOR_ADDRESS, 22)
    # without the rules the same ways are open: else this would prove nothing
    lab.run("box", ["nft", "flush", "ruleset"])
    assert town.reaches("vendor", BOX_ADDRESS, 8443)
    assert town.reaches("box", VENDOR_ADDRESS, 22)
    assert town.reaches("pc", BOX_ADDRESS, SUPPORT_PORT)


def test_commands_are_performed_and_noted_before(support: Support) -> None:
    support.db.execute(
        "INSERT INTO choices (subject, value, chosen_at) VALUES ('nas_choice', ?, 1)",
        ['{"host": "nas", "password": "planted-in-a-choice", "account": "ana"}'],
    )
    session = support.open()
    connection = support.connection(session)
    try:
        assert "ping-worker" in connection.run("help")
        settings = connection.run("settings")
        assert '"nas_choice"' in settings
        assert "planted-in-a-choice" not in settings
        assert "ana" not in settings.split('"account"')[1].splitlines()[0]
        with pytest.raises(BoxRefused, match="no such command"):
            connection.run("sh", {"line": "id"})
        with pytest.raises(BoxRefused, match="must match"):
            connection.run("log", {"unit": "../../etc/shadow", "lines": "10"})
        assert connection.run("storage").startswith("== storage.json")
    finally:
        connection.close()
    assert support.details("vendor:support:command") == [
        "help",
        "settings",
        "refused: There is no such command.",
        f"refused: unit of log must match {COMMANDS['log'].arguments['unit']}.",
        "storage",
    ]
    assert [detail.split(":")[0] for detail in support.details("vendor:support:done")] == [
        "help",
        "settings",
        "storage",
    ]


def test_a_command_that_is_not_signed_for_this_moment_is_refused(support: Support, tmp_path: Path) -> None:
    session = support.open()
    connection = support.connection(session)
    try:
        asked = sign_command(connection._key, session.id, connection._nonce, "help", {})
        line = asked.model_dump_json().encode() + b"\n"
        assert "ping-worker" in connection.send(line)
        forged = [
            line,
            line.replace(b'"help"', b'"status"'),
            sign_command(connection._key, "0" * 32, connection._nonce, "help", {}).model_dump_json().encode(),
            sign_command(connection._key, session.id, make_nonce(), "help", {}).model_dump_json().encode(),
            b'{"command": "help"}',
            b"GET / HTTP/1.1",
            b"{" * 3000,
        ]
        for wrong in forged:
            with pytest.raises(BoxRefused, match=r"not signed|Not a command"):
                connection.send(wrong.rstrip(b"\n") + b"\n")
        make_vendor_keys(tmp_path / "other")
        assert "ping-worker" in connection.run("help")
    finally:
        connection.close()
    assert len(support.details("vendor:support:done")) == 2


def test_the_admins_cut_ends_everything_within_a_second(support: Support) -> None:
    session = support.open()
    [service] = support.services
    connection = support.connection(session)
    assert connection.run("help")
    began = time.monotonic()
    cut_session(support.db, support.activity, support.host, admin=support.ana, address="10.99.0.3")
    cut_seconds = time.monotonic() - began
    assert not support.town.reaches("vendor", BOX_ADDRESS, SUPPORT_PORT)
    assert not support.has_interface()
    assert support.settings.support_interface not in support.tables()
    connection._socket.settimeout(0.5)
    with pytest.raises(OSError):
        connection.run("help")
    service.wait(1)
    ended_seconds = time.monotonic() - began
    print(f"cut in {cut_seconds:.2f} s")
    assert cut_seconds < 1.0
    assert ended_seconds < 3.0, "the half seconds of two attempts are in it"
    rules = support.town.lab.run("box", ["nft", "list", "chain", "inet", "cellule", "support_out"]).stdout
    assert "accept" not in rules
    with support.town.lab.inside("vendor"):
        disconnect(support.vendor, session.id, support.vendor_interface)


def test_the_box_ends_it_in_time_by_itself(support: Support) -> None:
    """Nobody but the broker is there: no core, no page."""
    plan = plan_of(support, seconds=2.0)
    support.host.open_support(plan)
    assert support.has_interface()
    wait_until(lambda: not support.has_interface(), within_seconds=6, what="the end of the session")
    assert time.time() >= plan.until
    assert not support.host.support_status().open


def test_the_kernel_ends_it_even_when_the_broker_hangs(support: Support) -> None:
    session_id, _ = support.request()
    key = support.host.open_support(plan_of(support, seconds=9.0, session_id=session_id))
    support.connect(session_id, key)
    with support.town.lab.inside("box"):
        listener = socket.create_server((BOX_ADDRESS, SUPPORT_PORT))
    with listener:
        wait_until(support.town.is_served, within_seconds=8, what="open")
        pids = [pid for pid in support.town.lab.pids("box") if "appliance.host" in command_line(pid)]
        for pid in pids:
            subprocess.run(["kill", "-STOP", str(pid)], check=True)
        try:
            wait_until(
                lambda: not support.town.is_served(),
                within_seconds=9,
                what="the kernel forgets the vendor",
            )
            assert support.has_interface(), "the broker has done nothing"
        finally:
            for pid in pids:
                subprocess.run(["kill", "-CONT", str(pid)], check=True)


def test_a_restart_of_the_broker_ends_it_and_the_core_says_so(support: Support) -> None:
    support.open()
    support.broker.send_signal(signal.SIGKILL)
    support.broker.wait(5)
    support.settings.broker_socket.unlink(missing_ok=True)
    assert support.has_interface()
    support.broker = start_broker(support.town.lab, support.settings)
    assert not support.has_interface()
    assert not support.town.reaches("vendor", BOX_ADDRESS, SUPPORT_PORT)
    assert settle_session(support.db, support.activity, support.host) == "the support session is over"
    assert past_sessions(support.db)[0].ending is Ending.RESTART


def plan_of(support: Support, *, seconds: float, session_id: str = "") -> SupportPlan:
    if not session_id:
        session_id, _ = support.request()
    request = SessionRequest.model_validate_json(
        (support.vendor / "sessions" / session_id / "request.json").read_bytes()
    )
    return SupportPlan(
        public_key=request.tunnel_key,
        endpoint=request.endpoint,
        vendor_address=request.vendor_address,
        box_address=request.box_address,
        until=time.time() + seconds,
    )


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
