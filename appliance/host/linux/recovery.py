"""The recovery key of the data partition, beside the TPM's: the former one goes only when the new one opens.

The key passes from systemd-cryptenroll through a pipe to who asked, and is written nowhere.
"""

import json
from pathlib import Path

from appliance.host.contract import HostFailed, Unsupported
from appliance.host.linux.commands import attempt, call

BY_TPM = ("--unlock-tpm2-device=auto",)


def key_slots(device: Path, kind: str) -> list[str]:
    """The LUKS key slots that a token of `kind` ("systemd-tpm2", "systemd-recovery") names."""
    header = json.loads(call("cryptsetup", "luksDump", "--dump-json-metadata", str(device)))
    return [
        slot for token in header["tokens"].values() if token["type"] == kind for slot in token["keyslots"]
    ]


def is_encrypted(device: Path) -> bool:
    """Whether the partition begins as LUKS does; read from the disk, for this is asked often."""
    with device.open("rb") as partition:
        return partition.read(6) == b"LUKS\xba\xbe"


def make_recovery_key(device: Path, unlock: tuple[str, ...] = BY_TPM) -> str:
    """The new key. Raises Unsupported for a partition that isn't encrypted, HostFailed."""
    if not is_encrypted(device):
        raise Unsupported(
            "The data of this box is not encrypted, so there is nothing to recover.",
            next_step="Encryption needs a TPM when the box starts for the first time.",
        )
    former = key_slots(device, "systemd-recovery")
    enrolled = attempt("systemd-cryptenroll", *unlock, "--recovery-key", str(device))
    key = enrolled.stdout.strip()
    fresh = set(key_slots(device, "systemd-recovery")) - set(former)
    if not key or len(fresh) != 1:
        raise HostFailed(
            f"There is no new recovery key; the former one stays: {enrolled.stderr.strip()[-300:]}",
            next_step="Restart the box: the TPM gives its key only to a boot that it knows.",
        )
    opens = ("cryptsetup", "open", "--test-passphrase", "--key-slot", *fresh, "--key-file=-", str(device))
    call(*opens, stdin=key)
    if former:
        call("systemd-cryptenroll", f"--wipe-slot={','.join(former)}", str(device))
    return key
