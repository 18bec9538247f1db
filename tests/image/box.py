"""One box as a virtual machine: firmware, disk, console, network card, and on wish a TPM and Secure Boot.

It is driven as a user would: the serial console is read and typed on, the network is the office's LAN, and
the power cord can be pulled. Everything of it lies in one folder.

A running box can be frozen, disk and memory, and others can go on from there in seconds, each in an office
of its own:

    frozen = box.freeze()
    another = Box(other_office, folder, works.disk, frozen=frozen)
    another.start()
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.image.office import IN_TOOLS, Office
from tests.waiting import wait_until

FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
FIRMWARE_SECURE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
VARIABLES = "usr/share/OVMF/OVMF_VARS_4M.fd"
FASTER = "mitigations=off tsc=reliable no_timer_check"
"""What a machine without an accelerator for virtual machines needs to boot in bearable time."""
PROCESSOR = "max,avx=off,avx2=off,bmi1=off,bmi2=off,f16c=off,fma=off,sha-ni=off"
"""One of 2010 (x86-64-v2): emulated, it computes a SHA-256 nearly three times as fast as with those."""
BOOT_SECONDS = 480.0
THAW_SECONDS = 60.0
_GOOD = r" {3}ready"
_CLOCK_LOST = b"rcu_preempt detected stalls"
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


def in_tools(*command: str, folders: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs a program of the tools root; `folders` are at the same place in there."""
    binds = [word for folder in folders for word in ("--bind", str(folder))]
    return subprocess.run(
        ["bash", str(IN_TOOLS), *binds, "--", *command], check=True, capture_output=True, text=True
    )


def tools_root() -> Path:
    """Where the tools root lies."""
    shown = subprocess.run(
        ["bash", "-c", f". {IN_TOOLS.parent}/where.sh; echo $TOOLS"],
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(shown.stdout.strip())


@dataclass(frozen=True)
class Frozen:
    """A machine that stands still: its `disk`, and in `folder` vars.fd and memory.

    `folders` is what a program must see to open the disk.
    """

    folder: Path
    disk: Path
    folders: tuple[Path, ...]
    address: str
    console: bytes


@dataclass
class Box:
    """`disk` is a raw image that is never written: the box works on an overlay in `folder`.

    With `frozen` it goes on from there at its first start; its clock, too, which is late then.
    """

    office: Office
    folder: Path
    disk: Path
    disk_gigabytes: int = 4
    tpm: bool = False
    secure_boot_variables: Path | None = None
    memory_megabytes: int = 2048
    kernel_words: str = FASTER
    extra: tuple[str, ...] = ()
    mac: str = "52:54:00:ce:11:01"
    frozen: Frozen | None = None
    console: bytearray = field(default_factory=bytearray)
    _qemu: subprocess.Popen[bytes] | None = None
    _swtpm: subprocess.Popen[bytes] | None = None
    _tap: str = ""
    _to_thaw: Frozen | None = None
    _watched_bytes: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._to_thaw = self.frozen
        self._tap = self.office.plug_in_machine()
        self.overlay = self.folder / "disk.qcow2"
        self._variables = self.folder / "vars.fd"
        if self.frozen is not None:
            self._create_overlay("qcow2", self.frozen.disk)
            shutil.copyfile(self.frozen.folder / "vars.fd", self._variables)
            self.console += self.frozen.console
            return
        self._create_overlay("raw", self.disk, f"{self.disk_gigabytes}G")
        shutil.copyfile(self.secure_boot_variables or tools_root() / VARIABLES, self._variables)

    @property
    def folders(self) -> tuple[Path, ...]:
        """What a program of the tools root must see to open the disk."""
        return (self.folder, *(self.frozen.folders if self.frozen else (self.disk.parent,)))

    def _create_overlay(self, kind: str, below: Path, *size: str) -> None:
        if not self.overlay.exists():
            in_tools(
                "qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(below), str(self.overlay),
                *size, folders=self.folders,
            )  # fmt: skip

    # --- power ---

    def start(self) -> None:
        """Presses the power button; a frozen box goes on where it stood."""
        self.started_at = time.monotonic()
        if self.tpm:
            self._start_tpm()
        thawing, self._to_thaw = self._to_thaw, None
        binds = [word for folder in self.folders for word in ("--bind", str(folder))]
        incoming = ("-incoming", f"file:{thawing.folder}/memory") if thawing else ()
        self._qemu = subprocess.Popen(
            [*_ENDS_WITH_US, "ip", "netns", "exec", self.office.namespace("lan"), "bash", str(IN_TOOLS),
             *binds, "--", *self._command(), *incoming],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        threading.Thread(target=self._read_console, args=(self._qemu,), daemon=True).start()
        if thawing:
            self._wait_for_migration()
            self.monitor("cont")

    def freeze(self) -> Frozen:
        """Stands still for good, disk and memory as they are."""
        frozen = Frozen(self.folder, self.overlay, self.folders, self.address, bytes(self.console))
        self.monitor("stop")
        self.monitor("migrate", uri=f"file:{self.folder}/memory")
        self._wait_for_migration()
        self.monitor("quit")
        assert self._qemu is not None
        self._qemu.wait(30)
        self.pull_the_cord()
        return frozen

    def _wait_for_migration(self) -> None:
        def done() -> bool:
            answer = self.monitor("query-migrate")
            assert isinstance(answer, dict)
            status = answer.get("status", "active")
            if status in ("failed", "cancelled"):
                raise RuntimeError(answer)
            return bool(status == "completed")

        self._wait(done, "disk and memory moved", THAW_SECONDS)

    def pull_the_cord(self) -> None:
        """Off at once; what the disk had acknowledged is on it."""
        for process in (self._qemu, self._swtpm):
            if process is not None:
                process.kill()
                process.wait()
        self._qemu = self._swtpm = None

    def press_power_button(self, timeout: float = 90) -> None:
        """Asks the system to shut down (ACPI) and waits until it has."""
        self.monitor("system_powerdown")
        self.wait_until_off(timeout)

    def wait_until_off(self, timeout: float = 90) -> None:
        """Until the machine has turned itself off."""
        assert self._qemu is not None
        self._qemu.wait(timeout)
        self.pull_the_cord()

    @property
    def is_on(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def monitor(self, command: str, **arguments: object) -> object:
        """One command to QEMU's monitor (QMP)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.folder / "qmp"))
            lines = connection.makefile("rw")
            lines.readline()
            for each in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(each) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    assert "error" not in answer, answer
            return answer["return"]

    # --- console ---

    @property
    def screen(self) -> str:
        """Everything the serial console has said, without its control sequences."""
        text = bytes(self.console).decode(errors="replace")
        return re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])", "", text).replace(
            "\r", ""
        )

    def type(self, keys: str) -> None:
        """Types on the serial console."""
        assert self._qemu is not None
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(keys.encode())
        self._qemu.stdin.flush()

    def answer(self, prompt: str, secret: str, since: int) -> None:
        """Types `secret` where `prompt` asks for one after the `since`th character; the end is told by Enter.

        What is typed before the prompt listens is lost, so the first star is waited for.
        """
        begins = since + self.wait_for_console(prompt, since=since).end()

        def first_is_taken() -> bool:
            self.type(secret[0])
            self.wait_for_console("[*•]", timeout=5, since=begins)
            return True

        self._wait(first_is_taken, f"{prompt!r} listens", 60)
        self.type(f"{secret[1:]}\r")

    def wait_for_console(self, pattern: str, timeout: float = BOOT_SECONDS, since: int = 0) -> re.Match[str]:
        """Waits until the console shows `pattern` after its `since`th character."""
        found: list[re.Match[str]] = []

        def shown() -> bool:
            assert self.is_on, f"the box is off\n{self.screen[-3000:]}"
            if match := re.search(pattern, self.screen[since:]):
                found.append(match)
            return bool(found)

        self._wait(shown, f"the console shows {pattern!r}", timeout)
        return found[0]

    def wait_for_screen(self, pattern: str, timeout: float = BOOT_SECONDS) -> re.Match[str]:
        """Waits until the screen shows `pattern` when it is painted anew (Ctrl-L), for of a line that changes
        only what differs is sent.
        """
        found: list[re.Match[str]] = []

        def shown() -> bool:
            since = len(self.screen)
            self.type("\x0c")
            found.append(self.wait_for_console(pattern, timeout=4, since=since))
            return True

        self._wait(shown, f"the screen shows {pattern!r}", timeout)
        return found[0]

    def wait_until_good(self, since: int = 0) -> None:
        """Waits until the verdict on this start is spoken, and good."""
        self.wait_for_console(_GOOD, since=since)

    # --- network ---

    @property
    def address(self) -> str:
        """The address that DHCP gave it; waits for one. A thawed box keeps that of its first office."""
        if self.frozen and self.office.lease_of(self.mac) is None:
            return self.frozen.address
        self._wait(lambda: self.office.lease_of(self.mac) is not None, "an address by DHCP", BOOT_SECONDS)
        return str(self.office.lease_of(self.mac))

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = BOOT_SECONDS) -> None:
        """Waits for `condition`, telling with the console's last words if it does not come."""
        self._wait(condition, what, timeout)

    def _wait(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        def fulfilled() -> bool:
            self._reset_if_its_clock_is_lost()
            return condition()

        try:
            wait_until(fulfilled, within_seconds=timeout, what=what, every_seconds=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}; the console's last words:\n{self.screen[-4000:]}") from error

    def _reset_if_its_clock_is_lost(self) -> None:
        """On a busy machine the emulator sometimes gives the second processor no timer: its kernel never gets
        as far as our programs. A person would press reset.
        """
        if _CLOCK_LOST in self.console[self._watched_bytes :] and self.is_on:
            self._watched_bytes = len(self.console)
            print("the emulator lost the second processor's clock: reset")
            self.monitor("system_reset")

    # --- inside ---

    def _command(self) -> list[str]:
        secure = self.secure_boot_variables is not None
        firmware = FIRMWARE_SECURE if secure else FIRMWARE
        return [
            "qemu-system-x86_64", "-machine", f"q35,smm={'on' if secure else 'off'}",
            "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", PROCESSOR, "-smp", "2",
            "-m", str(self.memory_megabytes),
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
            "-uuid", "11111111-2222-3333-4444-555555555555",
            "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
            *(("-global", "driver=cfi.pflash01,property=secure,value=on") if secure else ()),
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={firmware}",
            "-drive", f"if=pflash,format=raw,unit=1,file={self._variables}",
            "-drive", f"if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={self.overlay}",
            "-device", "virtio-blk-pci,drive=disk,bootindex=0",
            "-netdev", f"tap,id=lan,ifname={self._tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=lan,romfile=,mac={self.mac}",
            "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset",
            "-smbios", f"type=11,value=io.systemd.stub.kernel-cmdline-extra={self.kernel_words}",
            *self._tpm_arguments(), *self.extra,
        ]  # fmt: skip

    def _tpm_arguments(self) -> list[str]:
        if not self.tpm:
            return []
        chip = f"socket,id=chip,path={self.folder}/tpm.sock"
        return ["-chardev", chip, "-tpmdev", "emulator,id=tpm,chardev=chip", "-device", "tpm-crb,tpmdev=tpm"]

    def _start_tpm(self) -> None:
        state = self.folder / "tpm"
        state.mkdir(exist_ok=True)
        self._swtpm = subprocess.Popen(
            [*_ENDS_WITH_US, "bash", str(IN_TOOLS), "--bind", str(self.folder), "--",
             "swtpm", "socket", "--tpm2",
             "--tpmstate", f"dir={state}", "--ctrl", f"type=unixio,path={self.folder}/tpm.sock"],
        )  # fmt: skip
        wait_until((self.folder / "tpm.sock").exists, within_seconds=20, what="the TPM's socket")

    def _read_console(self, qemu: subprocess.Popen[bytes]) -> None:
        assert qemu.stdout is not None
        with (self.folder / "console.log").open("ab") as log, suppress(OSError, ValueError):
            while data := os.read(qemu.stdout.fileno(), 65536):
                self.console += data
                log.write(data)
                log.flush()
