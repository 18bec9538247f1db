"""What makes the box the same machine to others and only the host has: its name and the key of its tunnels.

Read for each backup through the broker, the tunnel key sealed for the owner's backup key. Given back to the
host after a restore, in the first moments of the core: the restored box keeps the network that it has now,
for the old addresses may not even exist here; name, clock and connections outward are the old ones.
"""

import logging
from pathlib import Path

from appliance.errors import Refusal
from appliance.host import Host, MachinePlan, Unsupported

MACHINE_FILE = "machine.json"
TUNNEL_KEY_FILE = "wireguard.key.age"
IDENTITY_FILE = "identity"
"""The age identity that opens the tunnel key: beside a staged backup alone, from the check to the restore."""
log = logging.getLogger(__name__)


def read_identity(host: Host, recipient: str) -> dict[str, str]:
    """File name → content, for a snapshot. Raises HostUnavailable: a backup without its identity is none."""
    found = {TUNNEL_KEY_FILE: host.seal_wireguard_key(recipient)}
    try:
        found[MACHINE_FILE] = host.machine_plan().model_dump_json()
    except Unsupported:
        log.debug("this machine has no plan of its own")
    return found


def holds_tunnel_key(folder: Path) -> bool:
    """Whether the backup in `folder` brings a tunnel key, and what opens it."""
    return (folder / TUNNEL_KEY_FILE).exists() and (folder / IDENTITY_FILE).exists()


def give_identity(host: Host, folder: Path) -> None:
    """Gives what a restored backup in `folder` holds to the host. Raises HostUnavailable; then repeat it."""
    sealed, identity, machine = folder / TUNNEL_KEY_FILE, folder / IDENTITY_FILE, folder / MACHINE_FILE
    if holds_tunnel_key(folder):
        host.replace_wireguard_key(sealed.read_text(), identity.read_text())
    if machine.exists():
        try:
            restored = MachinePlan.model_validate_json(machine.read_bytes())
            host.apply_machine(restored.model_copy(update={"network": host.machine_plan().network}))
        except (Refusal, ValueError) as error:
            # a newer version's plan, or a machine without one: the box runs with the plan that it has
            log.warning("the restored plan of the machine was not applied: %s", type(error).__name__)
    for path in (sealed, identity, machine):
        path.unlink(missing_ok=True)
