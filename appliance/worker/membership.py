"""What a worker keeps between two starts: who it is to the box, in one folder that only its owner reads.

`membership.json` and one WireGuard key per invitation. A key belongs to the invitation it was redeemed
with, so a repeated `join` with the same code is the same worker, and a new code never reuses a key.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.enrolment.contract import WorkerConfig
from appliance.enrolment.pinned import Address
from appliance.errors import Refused, TryAgain
from appliance.private_file import replace


class NotJoined(Refused):
    """There is nothing to run: this machine belongs to no box."""

    code = "not_joined"


class MembershipDamaged(Refused):
    """The stored membership can't be read."""

    code = "membership_damaged"


class AlreadyRunning(TryAgain):
    """Another agent works in this folder."""

    code = "already_running"


class Membership(BaseModel):
    """`config` is None until an admin has approved. `pin` is the SHA-256 of the box's certificate key."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="hex", val_json_bytes="hex")

    name: str
    invitation_id: bytes
    worker_id: str
    short_code: str
    poll_key: bytes = Field(repr=False)
    pin: bytes
    address: Address
    """Where the box was last reached on the LAN."""
    interface: str
    config: WorkerConfig | None = None


class MembershipStore:
    """The folder of one worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "membership.json"

    def key_path(self, invitation_id: bytes) -> Path:
        return self.folder / f"wireguard-{invitation_id.hex()}.key"

    def load(self) -> Membership | None:
        """None when this machine never joined. Raises MembershipDamaged."""
        try:
            return Membership.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise MembershipDamaged(
                f"{self._file} can't be read.", next_step="Remove it and join with a new invitation."
            ) from error

    def save(self, membership: Membership) -> None:
        """Keeps it in one step; keys of earlier invitations are of no more use."""
        replace(self._file, membership.model_dump_json().encode())
        self._wipe_keys(except_for=self.key_path(membership.invitation_id))

    def wipe(self) -> None:
        """Forgets the box: the keys go first, for they are what is worth stealing."""
        self._wipe_keys()
        self._file.unlink(missing_ok=True)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Holds the folder, mode 0700, for this process alone. Raises AlreadyRunning."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AlreadyRunning(
                    f"Another agent is running with {self.folder}.",
                    retry_after_seconds=5,
                    next_step="Stop it first, or give another folder with --state.",
                ) from error
            yield

    def _wipe_keys(self, except_for: Path | None = None) -> None:
        for key in self.folder.glob("wireguard-*.key"):
            if key != except_for:
                # overwritten before it is unlinked, for what that is worth on a disk that moves its blocks
                key.write_bytes(bytes(key.stat().st_size))
                key.unlink()
