"""The verbs of the box as a whole on Linux; on any machine that is not the appliance each is refused."""

from appliance.host.contract import Unsupported
from appliance.host.machine import (
    DiskInstallStatus,
    InstallPlan,
    InstallStatus,
    MachinePlan,
    MachineStatus,
    Slot,
)


class LinuxMachine:
    """Fulfils `Machine`."""

    def apply_machine(self, plan: MachinePlan, trial: bool = False) -> None:
        raise self._unsupported()

    def serve_certificate(
        self, certificate_pem: str | None, key_pem: str | None, trial: bool = False
    ) -> None:
        raise self._unsupported()

    def keep_trial(self) -> None:
        raise self._unsupported()

    def undo_trial(self) -> None:
        raise self._unsupported()

    def machine_plan(self) -> MachinePlan:
        raise self._unsupported()

    def machine_status(self) -> MachineStatus:
        raise self._unsupported()

    def reboot(self) -> None:
        raise self._unsupported()

    def power_off(self) -> None:
        raise self._unsupported()

    def slots(self) -> tuple[Slot, ...]:
        raise self._unsupported()

    def install_release(self, plan: InstallPlan) -> None:
        raise self._unsupported()

    def install_status(self) -> InstallStatus:
        raise self._unsupported()

    def make_recovery_key(self) -> str:
        raise self._unsupported()

    def factory_reset(self) -> None:
        raise self._unsupported()

    def install_to_disk(self, disk: str, force: bool = False) -> None:
        raise self._unsupported()

    def disk_install_status(self) -> DiskInstallStatus:
        raise self._unsupported()

    def mount_stick(self) -> str:
        raise self._unsupported()

    def release_stick(self) -> None:
        raise self._unsupported()

    def _unsupported(self) -> Unsupported:
        return Unsupported("This machine is not a Cellule appliance.")
