"""What each start of the box leaves on the data partition: one file a boot, one line a step.

The file is `<data>/boot/<number>-<boot id>.jsonl`; numbers rise by one a boot, for a wrong clock must not
change the order. A line is one JSON object, on the disk before the next step begins:

    {"step":"data","outcome":"ok","version":"2.0","slot":"b","boot_seconds":9.41,"at":1763700000,
     "sentence":"Kernel up, data mounted."}

The steps in their order: `data` (written without Python: rootfs/usr/lib/cellule/breadcrumb), `start`, each
check of the verdict, `verdict`, `running`, then `stopped` (a clean end) or `restart` (another try). A boot
whose last line is `running` lost its power in normal running; one without `verdict` never got that far. A
torn line (power cut, full disk) is skipped. Where nothing can be written, the boot goes on and says so.
"""

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.clock import Clock, now
from appliance.private_file import sync_folder

BOOTS_KEPT = 50
LONGEST_LOG_CHARACTERS = 16_000
_FIRST_NUMBER_DIGITS = 6


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"


class Breadcrumb(BaseModel):
    """One line. `at` is epoch seconds as the clock then was; `log` is the journal around a failure."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")

    step: str
    outcome: Outcome
    sentence: str = ""
    version: str = ""
    slot: str = ""
    boot_seconds: float = 0.0
    at: float = 0.0
    log: str = ""


@dataclass(frozen=True)
class Boot:
    """What one start left. `number` orders boots."""

    number: int
    boot_id: str
    crumbs: tuple[Breadcrumb, ...]

    @property
    def version(self) -> str:
        return self.crumbs[0].version if self.crumbs else ""

    @property
    def slot(self) -> str:
        return self.crumbs[0].slot if self.crumbs else ""

    def last(self, step: str) -> Breadcrumb | None:
        """The last line of this step."""
        return next((crumb for crumb in reversed(self.crumbs) if crumb.step == step), None)


@dataclass(frozen=True)
class Running:
    """What runs now; `slot` is "" outside of the image."""

    version: str
    slot: str
    boot_id: str


def seconds_since_boot() -> float:
    """As the kernel counts them, from its own start."""
    return float(Path("/proc/uptime").read_text().split()[0])


class Trail:
    """The breadcrumbs of this boot."""

    def __init__(
        self,
        folder: Path,
        running: Running,
        *,
        clock: Clock = now,
        boot_clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        self._folder = folder
        self._running = running
        self._clock = clock
        self._boot_clock = boot_clock
        self.unwritable = ""
        """Why the last line could not be written; "" when it was."""

    def note(self, step: str, outcome: Outcome, sentence: str, log: str = "") -> Breadcrumb:
        """Leaves one line and prints it. Never raises for a disk that can't be written."""
        crumb = Breadcrumb(
            step=step,
            outcome=outcome,
            sentence=sentence,
            version=self._running.version,
            slot=self._running.slot,
            boot_seconds=round(self._boot_clock(), 2),
            at=round(self._clock(), 1),
            log=log[-LONGEST_LOG_CHARACTERS:],
        )
        print(f"{step}: {outcome}: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 the journal
        try:
            self._append(crumb.model_dump_json(exclude_defaults=True))
            self.unwritable = ""
        except OSError as error:
            self.unwritable = f"The breadcrumb could not be written: {error.strerror}."
            print(self.unwritable, file=sys.stderr, flush=True)  # noqa: T201
        return crumb

    def _append(self, line: str) -> None:
        self._folder.mkdir(mode=0o755, exist_ok=True)
        path = trail_path(self._folder, self._running.boot_id)
        is_new = not path.exists()
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = line.encode() + b"\n"
                # a disk that fills up takes a part of it
                if file.write(written) != len(written):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                # half a line would take the next one with it
                file.truncate(before)
                raise
        if is_new:
            forget_old_boots(self._folder)
            sync_folder(self._folder)


def trail_path(folder: Path, boot_id: str) -> Path:
    """The file of that boot: the one there is, or the next number's."""
    if there := next(folder.glob(f"*-{boot_id}.jsonl"), None):
        return there
    number = max((number for number, _ in _files(folder)), default=0) + 1
    return folder / f"{number:0{_FIRST_NUMBER_DIGITS}}-{boot_id}.jsonl"


def read_boots(folder: Path) -> tuple[Boot, ...]:
    """Every boot that is kept, oldest first; none when the folder can't be read. Times may be wrong."""
    return tuple(Boot(number, _boot_id(path), _crumbs(path)) for number, path in _files(folder))


def with_known_times(boots: tuple[Boot, ...], *, not_before: float) -> tuple[Boot, ...]:
    """The same, with times from before the release was built set to 0: the clock was wrong then."""
    return tuple(
        replace(
            boot,
            crumbs=tuple(
                crumb if crumb.at >= not_before else crumb.model_copy(update={"at": 0.0})
                for crumb in boot.crumbs
            ),
        )
        for boot in boots
    )


def forget_old_boots(folder: Path) -> None:
    """Keeps the last BOOTS_KEPT files."""
    for _, path in _files(folder)[:-BOOTS_KEPT]:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[int, Path]]:
    try:
        found = [(path.name.partition("-")[0], path) for path in folder.glob("*-*.jsonl")]
    except OSError:
        return []
    return sorted((int(number), path) for number, path in found if number.isdecimal())


def _boot_id(path: Path) -> str:
    return path.stem.partition("-")[2]


def _crumbs(path: Path) -> tuple[Breadcrumb, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return ()
    crumbs = []
    for line in lines:
        try:
            crumbs.append(Breadcrumb.model_validate_json(line))
        except ValidationError:
            continue  # empty, or torn by a power cut
    return tuple(crumbs)
