"""The image on a stick: it offers to install itself on the machine's own disk, which then is a new box.

The stick is a removable SCSI disk, for the kernel of virtual machines has no USB. The disk of the machine is
empty and comes first, so the firmware starts the stick for want of anything better.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.box import Box, in_tools
from tests.image.office import Office
from tests.image.visitor import Visitor
from tests.image.works import CLAIM_CODE, Works

pytestmark = pytest.mark.timeout(1800)

DISK_GIGABYTES = 4
INSTALL_SECONDS = 400.0


@pytest.fixture(scope="module")
def machine(office: Office, works: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine with an empty disk and the image on a stick, switched off."""
    empty = works.out / "empty.raw"
    with empty.open("wb") as disk:
        disk.truncate(DISK_GIGABYTES * 1024**3)
    machine = Box(office, tmp_path_factory.mktemp("machine"), empty, disk_gigabytes=DISK_GIGABYTES)
    yield machine
    machine.pull_the_cord()
    empty.unlink()


@pytest.fixture(scope="module")
def stick(machine: Box, works: Works) -> Path:
    """What is written on it stays on it."""
    stick = machine.folder / "stick.qcow2"
    in_tools(
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(works.disk), str(stick), "4G",
        folders=(machine.folder, works.out),
    )  # fmt: skip
    return stick


def test_a_stick_that_is_pulled_out_meanwhile_leaves_a_clear_word(machine: Box, stick: Path) -> None:
    _plug_in(machine, stick)
    machine.start()
    _ask_for_install(machine)
    machine.wait_for_screen(r"Copying to vda: [1-9]\d* %", timeout=INSTALL_SECONDS)
    machine.monitor("device_del", id="stick")
    machine.wait_for_screen(r"It failed: The stick can't be read any more|The install broke off", timeout=90)


def test_started_from_the_stick_again_it_installs_itself(machine: Box, stick: Path) -> None:
    machine.pull_the_cord()
    before = len(machine.screen)
    machine.start()
    _ask_for_install(machine, since=before)
    machine.wait_for_screen(r"Done\. Press Enter: the machine turns off", timeout=INSTALL_SECONDS)
    machine.type("\r")
    machine.wait_until(lambda: not machine.is_on, "the machine is off", timeout=120)


def test_without_the_stick_it_starts_as_a_new_box_that_is_claimed_and_answers(machine: Box) -> None:
    machine.pull_the_cord()
    machine.extra = ()
    before = len(machine.screen)
    machine.start()
    code = machine.wait_for_console(CLAIM_CODE, since=before)[0]
    with Visitor(machine) as ada:
        ada.claim(code)
        answer, _ = ada.ask(ada.make_key("Ticket system"), "What is Cellule?")
        assert len(answer.split()) > 3
    machine.wait_for_console(r"cellule-demo answers", since=before)
    assert "Install on a disk" not in machine.screen[before:], "it runs from its own disk"


def _plug_in(machine: Box, stick: Path) -> None:
    machine.extra = (
        "-device", "virtio-scsi-pci,id=port",
        "-drive", f"if=none,id=on-stick,format=qcow2,cache=unsafe,file={stick}",
        "-device", "scsi-hd,id=stick,bus=port.0,drive=on-stick,removable=on,bootindex=1",
    )  # fmt: skip


def _ask_for_install(machine: Box, since: int = 0) -> None:
    """Names the disk, and once more."""
    machine.wait_for_console(CLAIM_CODE, since=since)
    machine.wait_for_screen(r"6 Install on a disk")
    said = len(machine.screen)
    machine.type("6")
    machine.wait_for_console(r"vda +4\.3 GB", timeout=60, since=said)
    machine.type("vda\r")
    machine.wait_for_console(r"All on vda is lost", timeout=60, since=said)
    machine.type("vda\r")
