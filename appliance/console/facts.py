"""Everything the screen can show, as it was at one moment. Data only; None: its source does not answer."""

from dataclasses import dataclass
from enum import StrEnum

from appliance.boot import RollbackStory, Word
from appliance.host.machine import DiskInstallStatus, InstallStatus, MachinePlan, MachineStatus, Slot


class StepState(StrEnum):
    """Of one check of the boot."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class BootStep:
    """`name` is the check's; `sentence` what it found, in English."""

    name: str
    state: StepState
    sentence: str = ""


class Trouble(StrEnum):
    """What must be said plainly; `texts` has the sentence of each."""

    DATA_MISSING = "data_missing"
    STORAGE_DAMAGED = "storage_damaged"
    DISK_FULL = "disk_full"
    CLOCK_WRONG = "clock_wrong"
    NO_ADDRESS = "no_address"
    NO_CABLE = "no_cable"
    BROKER_AWAY = "broker_away"
    NOT_ENCRYPTED = "not_encrypted"
    NOT_BOUND = "not_bound"


@dataclass(frozen=True)
class Told:
    """A trouble with the detail that its sentence needs."""

    trouble: Trouble
    detail: str = ""


@dataclass(frozen=True)
class Fleet:
    """What answers: `models` are ready on the box; requests of an hour; `waiting` None: a silent pool."""

    models: tuple[str, ...]
    demo: bool
    workers: int
    workers_ready: int
    requests: int
    waiting: int | None


@dataclass(frozen=True)
class Facts:
    """`urls` best first; `scan_url` is for the QR code. Fingerprints: SHA-256 in hex, "" if none.

    `slot` is the one that this start came from. `claimed` is None while storage can't be read. `steps` is
    empty outside of a boot that is being judged.
    """

    name: str = "cellule"
    version: str = ""
    slot: str = ""
    language: str = "en"
    urls: tuple[str, ...] = ()
    scan_url: str = ""
    claimed: bool | None = None
    claim_code: str = ""
    certificate: str = ""
    authority: str = ""
    steps: tuple[BootStep, ...] = ()
    word: Word | None = None
    fleet: Fleet | None = None
    machine: MachineStatus | None = None
    plan: MachinePlan | None = None
    slots: tuple[Slot, ...] = ()
    install: InstallStatus | None = None
    disk_install: DiskInstallStatus | None = None
    story: RollbackStory | None = None
    told: tuple[Told, ...] = ()

    @property
    def is_booting(self) -> bool:
        return self.word is None and bool(self.steps)

    def is_told(self, trouble: Trouble) -> bool:
        return any(told.trouble is trouble for told in self.told)

    @property
    def runs_from_stick(self) -> bool:
        """Whether the disk that the box started from can be unplugged."""
        return self.machine is not None and any(
            disk.is_boot_disk and disk.removable for disk in self.machine.disks
        )
