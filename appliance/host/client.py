"""The host as an unprivileged process sees it: the same verbs, performed by the broker."""

import socket
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from appliance.host.contract import FirewallPlan, HostUnavailable, TunnelPlan, TunnelStatus
from appliance.host.machine import (
    DiskInstallStatus,
    InstallPlan,
    InstallStatus,
    MachinePlan,
    MachineStatus,
    Slot,
)
from appliance.host.nas import NasPlan
from appliance.host.support import SupportPlan, SupportStatus
from appliance.host.wire import Answer, error_of, verb_named

TIMEOUT_SECONDS = 60


class BrokeredHost:
    """Fulfils `Host` over the broker's socket; every refusal is raised here as it was there.

    Raises HostUnavailable as well, when the broker is away. Each call is a connection of its own, so it
    may be shared by threads and survives a restart of the broker.
    """

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    def ensure_wireguard_key(self) -> str:
        return str(self._ask("ensure_wireguard_key"))

    def apply_tunnel(self, plan: TunnelPlan) -> None:
        self._ask("apply_tunnel", plan=plan)

    def apply_firewall(self, plan: FirewallPlan) -> None:
        self._ask("apply_firewall", plan=plan)

    def cut(self, interface: str, addresses: tuple[IPv4Address, ...]) -> None:
        self._ask("cut", interface=interface, addresses=addresses)

    def tunnel_status(self, interface: str) -> TunnelStatus:
        return self._ask("tunnel_status", interface=interface)  # type: ignore[no-any-return]

    def remove_tunnel(self, interface: str) -> None:
        self._ask("remove_tunnel", interface=interface)

    def apply_machine(self, plan: MachinePlan, trial: bool = False) -> None:
        self._ask("apply_machine", plan=plan, trial=trial)

    def serve_certificate(
        self, certificate_pem: str | None, key_pem: str | None, trial: bool = False
    ) -> None:
        self._ask("serve_certificate", certificate_pem=certificate_pem, key_pem=key_pem, trial=trial)

    def keep_trial(self) -> None:
        self._ask("keep_trial")

    def undo_trial(self) -> None:
        self._ask("undo_trial")

    def machine_plan(self) -> MachinePlan:
        return self._ask("machine_plan")  # type: ignore[no-any-return]

    def machine_status(self) -> MachineStatus:
        return self._ask("machine_status")  # type: ignore[no-any-return]

    def reboot(self) -> None:
        self._ask("reboot")

    def power_off(self) -> None:
        self._ask("power_off")

    def slots(self) -> tuple[Slot, ...]:
        return self._ask("slots")  # type: ignore[no-any-return]

    def install_release(self, plan: InstallPlan) -> None:
        self._ask("install_release", plan=plan)

    def install_status(self) -> InstallStatus:
        return self._ask("install_status")  # type: ignore[no-any-return]

    def make_recovery_key(self) -> str:
        return str(self._ask("make_recovery_key"))

    def factory_reset(self) -> None:
        self._ask("factory_reset")

    def install_to_disk(self, disk: str, force: bool = False) -> None:
        self._ask("install_to_disk", disk=disk, force=force)

    def disk_install_status(self) -> DiskInstallStatus:
        return self._ask("disk_install_status")  # type: ignore[no-any-return]

    def mount_stick(self) -> str:
        return str(self._ask("mount_stick"))

    def release_stick(self) -> None:
        self._ask("release_stick")

    def seal_wireguard_key(self, recipient: str) -> str:
        return str(self._ask("seal_wireguard_key", recipient=recipient))

    def replace_wireguard_key(self, sealed: str | None, identity: str | None) -> None:
        self._ask("replace_wireguard_key", sealed=sealed, identity=identity)

    def mount_nas(self, plan: NasPlan) -> str:
        return str(self._ask("mount_nas", plan=plan))

    def unmount_nas(self) -> None:
        self._ask("unmount_nas")

    def open_support(self, plan: SupportPlan) -> str:
        return str(self._ask("open_support", plan=plan))

    def close_support(self) -> None:
        self._ask("close_support")

    def support_status(self) -> SupportStatus:
        return self._ask("support_status")  # type: ignore[no-any-return]

    def _ask(self, name: str, **arguments: object) -> Any:  # noqa: ANN401 # the verb's own type
        verb = verb_named(name)
        request = verb.request.model_validate({"verb": name, **arguments})
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(str(self._socket_path))
                connection.sendall(request.model_dump_json().encode() + b"\n")
                with connection.makefile("rb") as lines:
                    line = lines.readline()
        except OSError as error:
            raise self._unavailable(str(error)) from error
        if not line:
            raise self._unavailable("it hung up")
        answer = Answer.model_validate_json(line)
        if answer.failure is not None:
            raise error_of(answer.failure)
        return verb.result.validate_python(answer.result)

    def _unavailable(self, why: str) -> HostUnavailable:
        return HostUnavailable(
            f"The host broker does not answer on {self._socket_path}: {why}.",
            retry_after_seconds=2,
            next_step="It is started with the product: python -m appliance.host.",
        )
