"""Installing a release: RAUC's own service does it and is asked how far it is: a restart here loses nothing.

What RAUC can't say after a restart of its own, whether the last plan came to its end, is seen on the ESP: the
new kernel image gets its name there last of all.

RAUC 1.13 can't be told which manifest to take, only which signer. So the bundle is inspected first, and what
RAUC notes of the slot is compared afterwards: a server that changed the bundle in between, for another one of
the same signer, ends with a slot that is marked bad.
"""

import json
import logging
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from appliance.errors import Refusal
from appliance.host.contract import BundleNotTrusted, Busy, HostFailed, InvalidPlan, NotFound
from appliance.host.linux.commands import call
from appliance.host.linux.places import Places
from appliance.host.linux.slots import read_slots
from appliance.host.machine import InstallPlan, InstallState, InstallStatus, SlotState
from appliance.host.plan import Plan
from appliance.private_file import replace

log = logging.getLogger(__name__)
_INSTALLER = ("de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer")
_INSPECT_SECONDS = 45
"""A server that hasn't handed out the manifest by then is taken for dead; callers wait for 60 s."""
_LOOK_SECONDS = 1.0


class Record(Plan):
    """The last install; `transaction` is RAUC's name for it, `compared` whether its result was checked."""

    plan: InstallPlan
    transaction: str
    compared: bool = False


def begin_install(places: Places, plan: InstallPlan) -> None:
    """Raises Busy, NotFound, HostFailed; BundleNotTrusted for a bundle of another signer, InvalidPlan for one
    that isn't the planned one.
    """
    if _progress().state is InstallState.INSTALLING:
        raise Busy("A release is being installed.", next_step="Wait until it is done.")
    source = plan.source
    if source.startswith("/"):
        path = Path(source).resolve()
        if not path.is_file():
            raise NotFound(f"There is no file {source}.")
        source = str(path)
    if _manifest_hash(source) != plan.manifest_hash:
        raise InvalidPlan(f"The bundle at {source} is not the release {plan.version} that was announced.")
    record = Record(plan=plan, transaction=str(uuid.uuid4()))
    _keep(places, record)
    named = ("1", "transaction-id", "s", record.transaction)
    call("busctl", "call", *_INSTALLER, "InstallBundle", "sa{sv}", source, *named)
    resume_watch(places)


def read_install(places: Places) -> InstallStatus:
    """Raises HostFailed when RAUC doesn't answer."""
    record = _read(places)
    if record is None:
        return InstallStatus()
    plan = record.plan
    now = _progress().model_copy(update={"version": plan.version})
    if now.state is not InstallState.IDLE:
        return now
    written = next((slot for slot in read_slots(places) if slot.version == plan.version), None)
    if written is None:
        error = "The install was interrupted, or the bundle was not the release that was announced."
        return now.model_copy(update={"state": InstallState.FAILED, "error": error})
    if written.booted or written.state in {SlotState.BAD, SlotState.NO_LONGER_STARTS}:
        return InstallStatus()
    return now.model_copy(update={"state": InstallState.INSTALLED, "percent": 100})


def resume_watch(places: Places) -> None:
    """Goes on waiting for an install that is not yet compared with its plan, if there is one."""
    record = _read(places)
    if record is not None and not record.compared:
        threading.Thread(target=_watch, args=(places, record), daemon=True).start()


def _manifest_hash(source: str) -> str:
    """Of the bundle at `source`, whose signature holds. Raises BundleNotTrusted, HostFailed."""
    try:
        found = _ask("InspectBundle", "sa{sv}", source, "0")
    except HostFailed as error:
        # the bus has no code for it, only RAUC's words
        _, wrong_signature, why = error.sentence.partition("signature verification failed: ")
        if not wrong_signature:
            raise
        raise BundleNotTrusted(
            f"The bundle is not signed by the vendor whom this box believes ({why}).",
            next_step="Tell the vendor where it came from.",
        ) from error
    return str(found[0]["manifest-hash"]["data"])


def _watch(places: Places, record: Record) -> None:
    try:
        while _progress().state is InstallState.INSTALLING:
            time.sleep(_LOOK_SECONDS)
        for slot, told in _ask("GetSlotStatus")[0]:
            notes = {name: value["data"] for name, value in told.items()}
            if notes.get("installed.transaction") != record.transaction:
                continue
            if notes.get("bundle.hash") != record.plan.manifest_hash:
                log.warning("slot %s holds another bundle than planned: it is marked bad", slot)
                _ask("Mark", "ss", "bad", slot)
        _keep(places, record.model_copy(update={"compared": True}))
    except Refusal:
        log.exception("what RAUC installed could not be compared with the plan")


def _progress() -> InstallStatus:
    """What RAUC knows: an install that runs, or why the last one since its start failed; else IDLE."""
    asked = call("busctl", "--json=short", "get-property", *_INSTALLER, "Operation", "LastError", "Progress")
    operation, error, (percent, step, _depth) = (json.loads(line)["data"] for line in asked.splitlines())
    if operation == "installing":
        return InstallStatus(state=InstallState.INSTALLING, percent=percent, step=step)
    if error:
        return InstallStatus(state=InstallState.FAILED, percent=percent, step=step, error=error)
    return InstallStatus()


def _ask(method: str, *arguments: str) -> Any:  # noqa: ANN401 # what D-Bus gives
    asked = (
        "busctl",
        "--json=short",
        f"--timeout={_INSPECT_SECONDS}",
        "call",
        *_INSTALLER,
        method,
        *arguments,
    )
    return json.loads(call(*asked, timeout_seconds=_INSPECT_SECONDS))["data"]


def _read(places: Places) -> Record | None:
    path = places.kept / "install.json"
    return Record.model_validate_json(path.read_bytes()) if path.exists() else None


def _keep(places: Places, record: Record) -> None:
    replace(places.kept / "install.json", record.model_dump_json().encode())
