"""The real program on a pseudo-terminal, before a real broker: what a person at the box sees and does."""

import os
import signal
import termios
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from appliance.boot.breadcrumbs import Outcome, Trail
from appliance.boot.places import places, running_now
from appliance.claim import read_claim_code
from appliance.console.effects import Deeds
from appliance.console.program import Console
from appliance.console.terminal import Terminal, TerminalGone
from appliance.console.watching import Watch
from appliance.host.machine import Disk, DiskInstallState, MachineStatus
from appliance.host.simulated import SimulatedHost
from appliance.keeping import ChangeKind, begin_change
from appliance.people import Role, audit_lines, create_account
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.console.conftest import brokering
from tests.console.glass import Glass, Screen, console
from tests.waiting import wait_until


def events(settings: Settings) -> list[tuple[str, str | None, str]]:
    with closing(open_activity(settings.state_dir)) as activity:
        return [(line.event, line.actor, line.detail) for line in reversed(audit_lines(activity))]


def test_shows_how_to_claim_the_box_until_it_is_claimed(box: Settings, machine: SimulatedHost) -> None:
    code = read_claim_code(box)
    assert code
    with brokering(box, machine), console(box.environment()) as glass:
        shown = glass.wait_for(code)
        assert f"https://127.0.0.1:{box.port}/" in shown
        assert "Fingerprint" in shown
        assert "█" in shown
        glass.wait_for("encrypted, bound to the TPM")
        assert glass.bytes_within(2.5) == 0
        with closing(open_cellule(box.state_dir)) as db:
            create_account(db, "ana", "correct horse battery", Role.ADMIN, "fr")
        glass.wait_for("À ouvrir dans un navigateur")
        assert code not in str(glass.screen)


def test_lives_on_without_broker_and_storage(box: Settings, machine: SimulatedHost) -> None:
    (box.state_dir / "cellule.db").write_bytes(b"not a database" * 1000)
    with console(box.environment()) as glass:
        glass.wait_for("cellule.db is damaged")
        glass.wait_for("The host broker does not answer")
        glass.type("1")
        assert "Name servers" not in str(glass.look())
        with brokering(box, machine):
            glass.wait_for("encrypted, bound to the TPM")
            assert "broker does not answer" not in str(glass.screen)
        glass.type("2\x1b")
        glass.wait_for("The host broker does not answer")


def test_an_address_is_typed_tried_and_kept(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("1")
        glass.wait_for("> Address from")
        glass.type(" ")
        glass.wait_for("typed here")
        glass.type("\r\r")
        glass.wait_for("> Address ")
        glass.type("\x7f" * 20 + "192.0.2.77")
        glass.type("\r\r\r")
        glass.wait_for("needs the length of its network")
        glass.type("\x1b[A\x1b[A")
        glass.wait_for("> Address ")
        glass.type("/24\r\r\r")
        glass.wait_for("Without Enter it is undone in 90 s")
        glass.wait_for("undone in 88 s")
        assert machine.box.plan_on_trial
        assert str(machine.box.plan_on_trial.network.address) == "192.0.2.77/24"
        assert machine.box.plan.network.address is None
        glass.type("\r")
        glass.wait_for("The network setting is kept")
        assert str(machine.box.plan.network.address) == "192.0.2.77/24"
        assert machine.box.plan.network.interface == "eth0"
    [(event, actor, detail), confirmed] = events(box)
    assert (event, actor) == ("console:network:changed", "console")
    assert detail.startswith("192.0.2.77/24 on eth0")
    assert confirmed[:2] == ("admin:change:confirmed", "console")


def test_an_address_that_does_not_work_is_taken_back(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("1")
        glass.wait_for("> Address from")
        glass.type(" \r\r\r\r\r")
        glass.wait_for("Does the network work?")
        glass.type("\x1b")
        glass.wait_for("The former network setting is back")
        assert machine.box.plan_on_trial is None
        assert machine.box.plan.network.address is None
    assert [event for event, _, _ in events(box)] == ["box:change:undone"]


def test_a_change_that_an_admin_tries_just_now_is_not_overridden(
    box: Settings, machine: SimulatedHost
) -> None:
    with closing(open_cellule(box.state_dir)) as db:
        plan = machine.machine_plan().model_copy(update={"hostname": "accueil"})
        begin_change(db, machine, plan, ChangeKind.HOSTNAME, by="ana", at=time.time())
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("1")
        glass.wait_for("> Address from")
        glass.type(" \r\r\r\r\r")
        glass.wait_for("Another change waits to be confirmed")
        assert machine.box.plan_on_trial is None


def test_the_network_can_be_mended_although_storage_is_damaged(box: Settings, machine: SimulatedHost) -> None:
    (box.state_dir / "cellule.db").write_bytes(b"\xff" * 8192)
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("1")
        glass.wait_for("> Address from")
        glass.type(" \r\r\r\r\r")
        glass.wait_for("Does the network work?")
        assert machine.box.plan_on_trial
        glass.type("\r")
        glass.wait_for("The network setting is kept")
        assert str(machine.box.plan.network.address) == "192.0.2.10/24"


def test_a_reset_wants_the_name_of_the_box(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("4")
        glass.wait_for("type the name of the box, cellule")
        glass.type("yes\r")
        glass.wait_for("That is not the name of this box")
        assert machine.box.resets == 0
        glass.type("cellule\r")
        glass.wait_for("The box restarts and erases its data")
        assert machine.box.resets == 1
    assert [event for event, _, _ in events(box)] == ["console:box:reset"]


def test_the_box_is_restarted_or_turned_off(box: Settings, machine: SimulatedHost) -> None:
    started = machine.box.booted_at
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("3")
        glass.wait_for("R: restart")
        glass.type("\x1b")
        glass.wait_for("1 Network")
        assert machine.box.booted_at == started
        glass.type("3r")
        glass.wait_for("The box restarts.")
        assert machine.box.booted_at > started
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("3o")
        glass.wait_for("The box turns off.")
        assert not machine.box.is_on
    assert [event for event, _, _ in events(box)] == ["console:box:restarted", "console:box:turned-off"]


class FromStick(SimulatedHost):
    """Started from a USB stick, beside an internal disk whose maker put a terminal's escape in its name."""

    disk_install_seconds = 1.0

    def machine_status(self) -> MachineStatus:
        status = super().machine_status()
        gib = 1024**3
        disks = (
            Disk(name="sda", model="Stick", size_bytes=16 * gib, removable=True, is_boot_disk=True),
            Disk(
                name="nvme0n1",
                model="Evil\x1b[2JDisk",
                size_bytes=512 * gib,
                removable=False,
                is_boot_disk=False,
            ),
        )
        return status.model_copy(update={"disks": disks})


def test_a_box_on_a_stick_installs_itself_on_a_disk_named_twice(box: Settings) -> None:
    machine = FromStick(box.secrets_dir / "wireguard.key", box.host_dir)
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("6 Install on a disk")
        glass.type("6")
        shown = glass.wait_for("nvme0n1")
        assert "550 GB" in shown
        assert "Evil?[2JDisk" in shown
        glass.type("sda\r")
        glass.wait_for("There is no such disk in the list")
        glass.type("nvme0n1\r")
        glass.wait_for("All on nvme0n1 is lost. Type its name once more")
        glass.type("nvme0n2\r")
        glass.wait_for("Nothing was changed")
        assert machine.disk_install_status().state is DiskInstallState.IDLE
        glass.type("nvme0n1\r")
        glass.wait_for("once more")
        glass.type("nvme0n1\r")
        glass.wait_for("Press Enter: the machine turns off", within_seconds=20)
        assert machine.disk_install_status().state is DiskInstallState.INSTALLED
        glass.type("\r")
        glass.wait_for("The box turns off.")


def test_a_box_on_its_own_disk_offers_no_install(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("6")
        assert "Install" not in str(glass.look())


def test_a_start_is_followed_step_by_step(box: Settings) -> None:
    where = places(box)
    trail = Trail(where.breadcrumbs, running_now(box))
    trail.note("data", Outcome.OK, "Data mounted.")
    with console(box.environment()) as glass:
        glass.wait_for(".. data partition")
        assert "starting" in str(glass.screen)
        trail.note("data-partition", Outcome.OK, "Data mounted, encrypted, 900 MiB free.")
        trail.note("storage", Outcome.OK, "Storage opens.")
        shown = glass.wait_for("ok storage")
        assert "ok data partition" in shown
        assert ".. host broker" in shown
        trail.note("broker", Outcome.FAILED, "The host broker does not answer: connection refused.")
        glass.wait_for("!! host broker")
        where.verdict.parent.mkdir(parents=True)
        where.verdict.write_text(
            '{"kind": "bad-release", "version": "2.0", "check": "broker", "sentence": "The broker is mute."}'
        )
        glass.wait_for("This start is not good: The broker is mute.")


def test_keys_that_end_other_programs_do_not_end_this_one(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment()) as glass:
        glass.wait_for("TPM")
        glass.type("\x03\x1a\x1c\x04\x13\x11")
        glass.type("2")
        shown = glass.wait_for("Certificate authority of this box")
        assert glass.process.poll() is None
        # 64 hex digits in groups of four, twice: certificate and authority
        assert sum(len(line.split()) == 8 for line in shown.splitlines()) == 4


def test_a_serial_line_that_tells_no_size_gets_the_usual_one(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment(), columns=0, term="vt220") as glass:
        glass.wait_for("TPM")
        assert "█" in str(glass.screen)
        whole = glass.screen.received
        # well under a second at 115,200 baud
        assert whole < 6000
        glass.type("\x0c")
        wait_until(
            lambda: glass.look().received >= 1.5 * whole, within_seconds=5, what="the screen is painted anew"
        )


def test_a_terminal_without_unicode_gets_none(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine), console(box.environment(), term="vt100") as glass:
        glass.wait_for("TPM")
        glass.type("5")
        shown = glass.wait_for("A ouvrir dans un navigateur")
        assert shown.isascii()
        glass.type("7")
        glass.wait_for("######")
        assert str(glass.screen).isascii()


def test_the_language_is_kept(box: Settings, machine: SimulatedHost) -> None:
    with brokering(box, machine):
        for expected in ("À ouvrir dans", "Open in"):
            with console(box.environment()) as glass:
                glass.wait_for("TPM")
                glass.type("5")
                glass.wait_for(expected)
    assert [detail for _, _, detail in events(box)] == ["fr", "en"]


def test_leaves_the_terminal_as_it_was(box: Settings) -> None:
    with console(box.environment()) as glass:
        glass.wait_for("1 Network")
        changed = termios.tcgetattr(glass.terminal)
        os.kill(glass.process.pid, signal.SIGTERM)
        wait_until(lambda: glass.process.poll() is not None, within_seconds=5, what="it ends")
        assert glass.process.returncode == 0
        left = termios.tcgetattr(glass.terminal)
        assert not changed[3] & termios.ICANON
        assert left[3] & termios.ICANON
        assert not str(glass.look()).strip()


def test_a_serial_line_without_a_chip_behind_it_is_closed_again(tmp_path: Path) -> None:
    """Its device opens, and is no terminal; it is tried again every few seconds, for years."""
    line = tmp_path / "ttyS0"
    line.write_text("")
    opened = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(TerminalGone), Terminal(line, "linux"):
        pass
    assert sorted(Path("/proc/self/fd").iterdir()) == opened


def test_news_that_a_terminal_takes_no_notice_of_hold_up_nobody(
    box: Settings, machine: SimulatedHost, tmp_path: Path
) -> None:
    console = Console(Watch(box, machine), Deeds(box, machine), tmp_path / "nowhere", "linux")

    def tell() -> None:
        for _ in range(70_000):  # a pipe holds 65,536 bytes
            console.stop()

    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    telling.join(20)
    assert not telling.is_alive(), "who tells of news waits for a terminal that is gone"


def test_a_terminal_that_is_not_there_or_hangs_up_takes_no_other_along(
    box: Settings, machine: SimulatedHost, tmp_path: Path
) -> None:
    second, theirs = os.openpty()
    late = tmp_path / "late"
    with brokering(box, machine), console(box.environment(), os.ttyname(theirs), str(late)) as glass:
        other = Glass(glass.process, second, Screen(80, 24))
        other.wait_for("TPM")
        other.type("2")
        other.wait_for("Certificate authority of this box")
        # each has a menu of its own
        assert "Certificate authority" not in str(glass.look())
        os.close(theirs)
        other.hang_up()
        glass.wait_for("TPM")
        glass.type("2")
        glass.wait_for("Certificate authority of this box")
        third, theirs = os.openpty()
        late.symlink_to(os.ttyname(theirs))
        another = Glass(glass.process, third, Screen(80, 24))
        another.wait_for("TPM")
        another.close()
        os.close(theirs)
        other.close()
