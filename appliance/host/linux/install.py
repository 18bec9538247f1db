"""Installing a release: RAUC's own service does it and is asked how far it is: a restart here loses nothing.

What RAUC can't say after a restart of its own, whether the last plan came to its end, is seen on the ESP: the
new kernel image gets its name there last of all.
"""

import json
from pathlib import Path

from appliance.host.contract import Busy, NotFound
from appliance.host.linux.commands import call
from appliance.host.linux.places import Places
from appliance.host.linux.slots import read_slots
from appliance.host.machine import InstallPlan, InstallState, InstallStatus, SlotState
from appliance.private_file import replace

_INSTALLER = ("de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer")


def begin_install(places: Places, plan: InstallPlan) -> None:
    """Raises Busy, NotFound, HostFailed."""
    if _progress().state is InstallState.INSTALLING:
        raise Busy("A release is being installed.", next_step="Wait until it is done.")
    source = plan.source
    if source.startswith("/"):
        path = Path(source).resolve()
        if not path.is_file():
            raise NotFound(f"There is no file {source}.")
        source = str(path)
    replace(_plan_file(places), plan.model_dump_json().encode())
    required = ("1", "require-manifest-hash", "s", plan.manifest_hash)
    call("busctl", "call", *_INSTALLER, "InstallBundle", "sa{sv}", source, *required)


def read_install(places: Places) -> InstallStatus:
    """Raises HostFailed when RAUC doesn't answer."""
    if not _plan_file(places).exists():
        return InstallStatus()
    plan = InstallPlan.model_validate_json(_plan_file(places).read_bytes())
    now = _progress().model_copy(update={"version": plan.version})
    if now.state is not InstallState.IDLE:
        return now
    written = next((slot for slot in read_slots(places) if slot.version == plan.version), None)
    if written is None:
        error = "The install was interrupted before its end."
        return now.model_copy(update={"state": InstallState.FAILED, "error": error})
    if written.booted or written.state is SlotState.BAD:
        return InstallStatus()
    return now.model_copy(update={"state": InstallState.INSTALLED, "percent": 100})


def _progress() -> InstallStatus:
    """What RAUC knows: an install that runs, or why the last one since its start failed; else IDLE."""
    asked = call("busctl", "--json=short", "get-property", *_INSTALLER, "Operation", "LastError", "Progress")
    operation, error, (percent, step, _depth) = (json.loads(line)["data"] for line in asked.splitlines())
    if operation == "installing":
        return InstallStatus(state=InstallState.INSTALLING, percent=percent, step=step)
    if error:
        return InstallStatus(state=InstallState.FAILED, percent=percent, step=step, error=error)
    return InstallStatus()


def _plan_file(places: Places) -> Path:
    return places.kept / "install.json"
