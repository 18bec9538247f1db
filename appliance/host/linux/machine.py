"""The verbs of the box as a whole on Linux; on any machine that is not the appliance each is refused.

What is kept (machine.json, the company's certificate) is applied at every start of the broker, before that of
the network. What is on trial lives in this process alone: a power cut, or a broker that ends, undoes it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Refusal
from appliance.host.contract import NotFound, Unsupported
from appliance.host.linux import power, recovery, reset, stick
from appliance.host.linux.certificate import Pair, end_certificate_trial, keep_pair, kept_pair, serve_pair
from appliance.host.linux.disk_install import DiskInstall
from appliance.host.linux.install import begin_install, read_install, resume_watch
from appliance.host.linux.network import apply_hostname, apply_network, keep_network
from appliance.host.linux.outbound import apply_outbound
from appliance.host.linux.places import Places
from appliance.host.linux.slots import read_slots
from appliance.host.linux.status import read_status
from appliance.host.linux.timekeeping import apply_time, check_timezone
from appliance.host.machine import (
    DiskInstallStatus,
    InstallPlan,
    InstallStatus,
    MachinePlan,
    MachineStatus,
    Slot,
)
from appliance.private_file import replace

log = logging.getLogger(__name__)


@dataclass
class Trial:
    """What is applied and not kept; `certificate` holds the pair in a tuple: None is the box's own."""

    plan: MachinePlan | None = None
    certificate: tuple[Pair | None] | None = None

    def __bool__(self) -> bool:
        return self.plan is not None or self.certificate is not None


class LinuxMachine:
    """Fulfils `Machine` at `places`; without any, every verb raises Unsupported."""

    def __init__(self, places: Places | None) -> None:
        self._known_places = places
        self._trial = Trial()
        self._disk_install = DiskInstall(places) if places else None
        if places:
            self._settle()

    def apply_machine(self, plan: MachinePlan, trial: bool = False) -> None:
        places = self._places
        check_timezone(places, plan.timezone)
        self._trial.plan = plan if trial else None
        if not trial:
            replace(places.kept / "machine.json", plan.model_dump_json().encode())
            keep_network(places, plan)
        self._apply(plan)

    def serve_certificate(
        self, certificate_pem: str | None, key_pem: str | None, trial: bool = False
    ) -> None:
        pair = None if certificate_pem is None or key_pem is None else (certificate_pem, key_pem)
        self._trial.certificate = (pair,) if trial else None
        if not trial:
            keep_pair(self._places, pair)
        serve_pair(self._places, pair)

    def keep_trial(self) -> None:
        trial = self._trial
        if not trial:
            raise NotFound("No change is on trial.", next_step="It was undone: make it again.")
        if trial.plan:
            self.apply_machine(trial.plan)
        if trial.certificate:
            certificate, key = trial.certificate[0] or (None, None)
            self.serve_certificate(certificate, key)

    def undo_trial(self) -> None:
        self._trial, undone = Trial(), self._trial
        if undone:
            self._apply(self.machine_plan())
            serve_pair(self._places, kept_pair(self._places))

    def machine_plan(self) -> MachinePlan:
        path = self._places.kept / "machine.json"
        return MachinePlan.model_validate_json(path.read_bytes()) if path.exists() else MachinePlan()

    def machine_status(self) -> MachineStatus:
        return read_status(self._places)

    def reboot(self) -> None:
        assert self._places
        power.reboot()

    def power_off(self) -> None:
        assert self._places
        power.power_off()

    def slots(self) -> tuple[Slot, ...]:
        return read_slots(self._places)

    def install_release(self, plan: InstallPlan) -> None:
        begin_install(self._places, plan)

    def install_status(self) -> InstallStatus:
        return read_install(self._places)

    def make_recovery_key(self) -> str:
        return recovery.make_recovery_key(self._data_partition)

    def factory_reset(self) -> None:
        reset.begin_reset(self._places)
        power.reboot()

    def install_to_disk(self, disk: str, force: bool = False) -> None:
        assert self._places and self._disk_install
        self._disk_install.begin(disk, force)

    def disk_install_status(self) -> DiskInstallStatus:
        assert self._places and self._disk_install
        return self._disk_install.status

    def mount_stick(self) -> str:
        return stick.mount_stick(self._places)

    def release_stick(self) -> None:
        stick.release_stick(self._places)

    @property
    def _places(self) -> Places:
        if self._known_places is None:
            raise Unsupported("This machine is not a Cellule appliance.")
        return self._known_places

    @property
    def _data_partition(self) -> Path:
        return self._places.partitions / "data"

    def _apply(self, plan: MachinePlan) -> None:
        apply_hostname(self._places, plan.hostname)
        apply_time(self._places, plan.timezone, plan.ntp_servers)
        apply_outbound(plan)
        apply_network(self._places, plan)

    def _settle(self) -> None:
        """What is kept, at the start. A box only half as planned must still come up and be reached."""
        try:
            plan = self.machine_plan()
        except ValueError:
            log.exception("machine.json can't be read; the box starts with the plan of a new one")
            plan = MachinePlan()
        places = self._places
        steps: tuple[Callable[[], None], ...] = (
            lambda: apply_network(places, plan),
            lambda: keep_network(places, plan),
            lambda: apply_hostname(places, plan.hostname),
            lambda: apply_time(places, plan.timezone, plan.ntp_servers),
            lambda: apply_outbound(plan),
            lambda: end_certificate_trial(places),
            lambda: resume_watch(places),
        )
        for step in steps:
            try:
                step()
            except (Refusal, OSError):
                log.exception("a part of the kept plan could not be applied")
