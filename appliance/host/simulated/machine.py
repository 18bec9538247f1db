"""A box in a file: its status shows what was applied, installs take time, a restart starts the new slot."""

import secrets
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from pydantic import BaseModel

from appliance.clock import Clock, now
from appliance.host.contract import Busy, InvalidPlan, NotFound
from appliance.host.machine import (
    DataStatus,
    Disk,
    DiskInstallState,
    DiskInstallStatus,
    InstallPlan,
    InstallState,
    InstallStatus,
    Interface,
    MachinePlan,
    MachineStatus,
    NetworkPlan,
    Slot,
    SlotState,
)
from appliance.private_file import replace

FIRST_VERSION = "0.1.0"
TRIES = 3
STEPS = ("Checking the bundle", "Copying the root file system", "Copying the kernel image")
OFFERED = NetworkPlan(
    method="static", address=IPv4Interface("192.0.2.10/24"), gateway=IPv4Address("192.0.2.1")
)
"""What DHCP gives in this network (RFC 5737, for examples)."""
GIB = 1024**3
DISKS = (
    Disk(name="sda", model="Example SSD", size_bytes=128 * GIB, removable=False, is_boot_disk=True),
    Disk(name="nvme0n1", model="Example NVMe", size_bytes=512 * GIB, removable=False, is_boot_disk=False),
    Disk(name="sdb", model="Example stick", size_bytes=16 * GIB, removable=True, is_boot_disk=False),
)
_MODHEX = "cbdefghijklnrtuv"


class Certificates(BaseModel):
    """A company's certificate and key; None: the box's own."""

    company: tuple[str, str] | None = None


class MachineMemory(BaseModel):
    """The whole simulated box."""

    plan: MachinePlan = MachinePlan()
    plan_on_trial: MachinePlan | None = None
    certificates: Certificates = Certificates()
    certificates_on_trial: Certificates | None = None
    slots: tuple[Slot, ...] = (
        Slot(name="a", version=FIRST_VERSION, state=SlotState.GOOD, tries_left=None, booted=True),
        Slot(name="b", version="", state=SlotState.EMPTY, tries_left=None, booted=False),
    )
    install: InstallPlan | None = None
    install_began_at: float = 0
    install_error: str = ""
    disk: str = ""
    disk_began_at: float = 0
    recovery_key: str = ""
    booted_at: float = 0
    is_on: bool = True
    resets: int = 0


class SimulatedMachine:
    """Fulfils `Machine` on `memory_dir`/simulated-machine.json.

    A USB stick is in when the folder `memory_dir`/stick exists. An install takes `install_seconds`.
    """

    install_seconds = 3.0

    def __init__(self, memory_dir: Path, clock: Clock = now) -> None:
        self._machine_file = memory_dir / "simulated-machine.json"
        self._stick = memory_dir / "stick"
        self._clock = clock
        self.box = (
            MachineMemory.model_validate_json(self._machine_file.read_bytes())
            if self._machine_file.exists()
            else MachineMemory(booted_at=clock())
        )
        # as on Linux, what was on trial ends with the broker
        self.box = self.box.model_copy(update={"plan_on_trial": None, "certificates_on_trial": None})

    def apply_machine(self, plan: MachinePlan, trial: bool = False) -> None:
        if trial:
            self._change(plan_on_trial=plan)
        else:
            self._change(plan=plan, plan_on_trial=None)

    def serve_certificate(
        self, certificate_pem: str | None, key_pem: str | None, trial: bool = False
    ) -> None:
        company = None if certificate_pem is None or key_pem is None else (certificate_pem, key_pem)
        if trial:
            self._change(certificates_on_trial=Certificates(company=company))
        else:
            self._change(certificates=Certificates(company=company), certificates_on_trial=None)

    def keep_trial(self) -> None:
        box = self.box
        if box.plan_on_trial is None and box.certificates_on_trial is None:
            raise NotFound("No change is on trial.")
        plan, certificates = box.plan_on_trial or box.plan, box.certificates_on_trial or box.certificates
        self._change(plan=plan, plan_on_trial=None, certificates=certificates, certificates_on_trial=None)

    def undo_trial(self) -> None:
        self._change(plan_on_trial=None, certificates_on_trial=None)

    def machine_plan(self) -> MachinePlan:
        return self.box.plan

    def machine_status(self) -> MachineStatus:
        self._finish_install()
        plan = self.box.plan_on_trial or self.box.plan
        network = plan.network if plan.network.address else OFFERED
        assert network.address
        booted = self._booted()
        return MachineStatus(
            version=booted.version,
            slot=booted.name,
            hostname=plan.hostname,
            interfaces=(
                Interface(name="eth0", mac="02:00:00:00:00:10", carrier=True, addresses=(network.address,)),
                Interface(name="eth1", mac="02:00:00:00:00:11", carrier=False),
            ),
            gateway=network.gateway,
            dns=plan.network.dns or ((network.gateway,) if network.gateway else ()),
            timezone=plan.timezone,
            clock_synchronised=bool(plan.ntp_servers),
            booted_at=self.box.booted_at,
            tpm=True,
            secure_boot=False,
            data=DataStatus(
                encrypted=True,
                tpm_bound=True,
                recovery_key=bool(self.box.recovery_key),
                size_bytes=100 * GIB,
                free_bytes=92 * GIB,
            ),
            disks=DISKS,
        )

    def reboot(self) -> None:
        self._finish_install()
        slots = self.box.slots
        if any(slot.state is SlotState.TRYING for slot in slots):
            slots = tuple(_started(slot) for slot in slots)
        self._change(
            slots=slots, booted_at=self._clock(), install=None, plan_on_trial=None, certificates_on_trial=None
        )

    def power_off(self) -> None:
        self._change(is_on=False)

    def slots(self) -> tuple[Slot, ...]:
        self._finish_install()
        return self.box.slots

    def install_release(self, plan: InstallPlan) -> None:
        if self.install_status().state is InstallState.INSTALLING:
            raise Busy("A release is being installed.", next_step="Wait until it is done.")
        missing = plan.source.startswith("/") and not Path(plan.source).is_file()
        error = f"Failed to open bundle {plan.source}: No such file or directory" if missing else ""
        self._change(install=plan, install_began_at=self._clock(), install_error=error)

    def install_status(self) -> InstallStatus:
        plan = self.box.install
        if plan is None:
            return InstallStatus()
        if self.box.install_error:
            return InstallStatus(
                state=InstallState.FAILED, error=self.box.install_error, version=plan.version
            )
        percent = self._percent_since(self.box.install_began_at)
        if percent < 100:
            step = STEPS[percent * len(STEPS) // 100]
            return InstallStatus(
                state=InstallState.INSTALLING, percent=percent, step=step, version=plan.version
            )
        self._finish_install()
        return InstallStatus(state=InstallState.INSTALLED, percent=100, version=plan.version)

    def make_recovery_key(self) -> str:
        """In the form that systemd-cryptenroll gives it: 256 bits, 8 groups of 8 letters."""
        letters = "".join(_MODHEX[byte >> 4] + _MODHEX[byte & 15] for byte in secrets.token_bytes(32))
        key = "-".join(letters[start : start + 8] for start in range(0, 64, 8))
        self._change(recovery_key=key)
        return key

    def factory_reset(self) -> None:
        self.box = MachineMemory(slots=self.box.slots, booted_at=self._clock(), resets=self.box.resets + 1)
        self._change()

    def install_to_disk(self, disk: str, force: bool = False) -> None:
        found = next((each for each in DISKS if each.name == disk), None)
        if found is None:
            raise NotFound(f"There is no disk {disk}.")
        if found.is_boot_disk:
            raise InvalidPlan(f"The box runs from {disk}.")
        if found.removable and not force:
            raise InvalidPlan(f"{disk} can be unplugged.")
        if self.disk_install_status().state is DiskInstallState.COPYING:
            raise Busy("An install to a disk is running.")
        self._change(disk=disk, disk_began_at=self._clock())

    def disk_install_status(self) -> DiskInstallStatus:
        if not self.box.disk:
            return DiskInstallStatus()
        percent = self._percent_since(self.box.disk_began_at)
        state = DiskInstallState.INSTALLED if percent == 100 else DiskInstallState.COPYING
        return DiskInstallStatus(state=state, percent=percent, disk=self.box.disk)

    def mount_stick(self) -> str:
        if not self._stick.is_dir():
            raise NotFound("No USB stick was found.", next_step="Plug it in and try again.")
        return str(self._stick)

    def release_stick(self) -> None:
        """Nothing is mounted."""

    def _booted(self) -> Slot:
        return next(slot for slot in self.box.slots if slot.booted)

    def _percent_since(self, began_at: float) -> int:
        return max(0, min(100, int((self._clock() - began_at) / self.install_seconds * 100)))

    def _finish_install(self) -> None:
        plan = self.box.install
        if plan is None or self.box.install_error or self._percent_since(self.box.install_began_at) < 100:
            return
        written = {"version": plan.version, "state": SlotState.TRYING, "tries_left": TRIES}
        fresh = tuple(
            slot if slot.booted or _holds(slot, plan.version) else slot.model_copy(update=written)
            for slot in self.box.slots
        )
        if fresh != self.box.slots:
            self._change(slots=fresh)

    def _change(self, **changes: object) -> None:
        self.box = self.box.model_copy(update=changes)
        replace(self._machine_file, self.box.model_dump_json().encode())


def _holds(slot: Slot, version: str) -> bool:
    return slot.version == version and slot.state is not SlotState.NO_LONGER_STARTS


def _started(slot: Slot) -> Slot:
    """The slot after a restart into the one on trial, whose boot was good."""
    if slot.state is SlotState.TRYING:
        return slot.model_copy(update={"state": SlotState.GOOD, "tries_left": None, "booted": True})
    return slot.model_copy(update={"booted": False})
