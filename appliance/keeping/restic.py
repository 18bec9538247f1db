"""restic (0.14 to 0.18), called for one repository: the key goes by file, secrets by environment, never argv.

Whoever calls holds the box's keeping lock. A lock that a cut-off run of this box left in the repository is
removed; that of another machine is not. A program that moves nothing for too long is ended and told as
TargetStalled, whatever its process still waits for in the kernel.
"""

import json
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from appliance.errors import Refused
from appliance.keeping.key import FORMER_PASSWORD_FILE, PASSWORD_FILE, WrongBackupKey
from appliance.keeping.places import keeping_dir
from appliance.keeping.targets import KEPT_DAYS
from appliance.keeping.troubles import NoRepository, stalled, trouble_in
from appliance.settings import Settings

QUICK_SECONDS = 60.0
STALL_SECONDS = 300.0
PRUNE_SECONDS = 3600.0
TAG = "cellule"
Progress = Callable[[float], None]
"""Called with the share done, 0 to 1."""


class NoBackupProgram(Refused):
    """restic isn't installed; the image has it."""

    code = "no_backup_program"


@dataclass(frozen=True)
class Repository:
    """Where restic works: its address, variables with the target's secrets, and arguments for every call.

    `words` is where a program that restic starts says what went wrong: restic itself, when it gives up, may
    end before it has passed that on.
    """

    address: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: tuple[str, ...] = ()
    words: Path | None = None


@dataclass(frozen=True)
class BackupSnapshot:
    """One backup in a repository; `at` is epoch seconds, `box` the name that the box had."""

    id: str
    at: float
    box: str


@dataclass(frozen=True)
class Stored:
    """What one backup did: its id, its size, and what of it was new to the repository, in bytes."""

    snapshot: str
    size_bytes: int
    added_bytes: int


class Restic:
    """One repository, with the box's own key."""

    def __init__(
        self, settings: Settings, repository: Repository, *, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self._password_file = settings.secrets_dir / PASSWORD_FILE
        self._former_password_file = settings.secrets_dir / FORMER_PASSWORD_FILE
        self._cache = keeping_dir(settings) / "cache"
        self._repository = repository
        self._stall_seconds = stall_seconds

    def open(self, *, make: bool) -> None:
        """Proves that the repository opens with the box's key; `make` it where nothing is.

        Takes a former key out of the repository. Raises NoRepository, WrongBackupKey, what `troubles` names.
        """
        try:
            locks = self._locks()
        except NoRepository:
            if not make:
                raise
            self._call("init")
            locks = []
        except WrongBackupKey:
            if not self._former_password_file.exists():
                raise
            self._change_key()
            locks = self._locks()
        self._former_password_file.unlink(missing_ok=True)
        if locks:
            self._unlock(locks)

    def store(self, folder: Path, *, box: str, at: float, progress: Progress) -> Stored:
        """Backs up what is in `folder`; the snapshot bears the time `at`."""
        moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        last: dict[str, dict[str, Any]] = {"status": {}, "summary": {}}

        def read(line: str) -> None:
            message = _message(line)
            last[str(message.get("message_type"))] = message
            if message.get("message_type") == "status":
                progress(float(message.get("percent_done", 0.0)))

        self._call(
            *("backup", "--tag", TAG, "--host", box, "--time", moment, str(folder)),
            on_line=read,
            moved=lambda: (last["status"].get("bytes_done"), last["status"].get("files_done")),
            limit_seconds=self._stall_seconds,
        )
        summary = last["summary"]
        return Stored(
            snapshot=str(summary["snapshot_id"]),
            size_bytes=int(summary["total_bytes_processed"]),
            added_bytes=int(summary["data_added"]),
        )

    def forget_old(self) -> None:
        """Keeps the last backup of each of the last KEPT_DAYS days that have one, and frees the space."""
        days = ("--keep-daily", str(KEPT_DAYS))
        self._call("forget", "--tag", TAG, "--group-by", "", *days, "--prune", limit_seconds=PRUNE_SECONDS)

    def snapshots(self) -> list[BackupSnapshot]:
        """The newest first."""
        found = json.loads(self._call("snapshots", "--tag", TAG)) or []
        listed = [
            BackupSnapshot(each["id"], _epoch_seconds(each["time"]), each.get("hostname", ""))
            for each in found
        ]
        return sorted(listed, key=lambda snapshot: snapshot.at, reverse=True)

    def unpack(self, snapshot: str, folder: Path, *, size_bytes: int, progress: Progress) -> Path:
        """Restores `snapshot` into the empty `folder`; where in it the snapshot lies."""

        def unpacked() -> float:
            done = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            progress(min(done / size_bytes, 1.0) if size_bytes else 0.0)
            return done

        arguments = ("restore", snapshot, "--target", str(folder))
        self._call(*arguments, moved=unpacked, limit_seconds=self._stall_seconds)
        # restic repeats the whole path that was backed up
        manifests = list(folder.rglob("manifest.json"))
        return manifests[0].parent if len(manifests) == 1 else folder

    def size_of(self, snapshot: str) -> int:
        """Bytes that `snapshot` takes once it is unpacked."""
        return int(json.loads(self._call("stats", "--mode", "restore-size", snapshot))["total_size"])

    def _change_key(self) -> None:
        self._call(
            "key",
            "add",
            "--new-password-file",
            str(self._password_file),
            password_file=self._former_password_file,
        )
        for key in json.loads(self._call("key", "list")):
            if not key["current"]:
                self._call("key", "remove", key["id"])

    def _locks(self) -> list[str]:
        # restic 0.14 lists plain ids, later ones may list JSON strings
        return [line.strip('"') for line in self._call("list", "locks", "--no-lock").split()]

    def _unlock(self, locks: list[str]) -> None:
        """A lock of this machine was left by a run that was cut off: nobody else of it works now."""
        for lock in locks:
            held = json.loads(self._call("cat", "lock", lock, "--no-lock"))
            if held.get("hostname") != socket.gethostname():
                raise trouble_in("already locked")
        self._call("unlock", "--remove-all")

    def _call(
        self,
        *arguments: str,
        password_file: Path | None = None,
        limit_seconds: float = QUICK_SECONDS,
        on_line: Callable[[str], None] | None = None,
        moved: Callable[[], object] = lambda: None,
    ) -> str:
        """Runs restic; its output, unless `on_line` takes it. Ended once `moved` stands still so long."""
        argv = ["restic", "--json", *self._repository.options, *arguments]
        lines: list[str] = []
        if self._repository.words:
            self._repository.words.unlink(missing_ok=True)
        with tempfile.TemporaryFile() as errors:
            process = self._start(argv, password_file or self._password_file, errors)
            _follow(process, limit_seconds, on_line or lines.append, moved)
            errors.seek(0)
            words = errors.read().decode(errors="replace")
        if process.returncode != 0:
            if self._repository.words and self._repository.words.exists():
                words = f"{self._repository.words.read_text(errors='replace')}\n{words}"
            raise trouble_in(words)
        return "\n".join(lines)

    def _start(self, argv: list[str], password_file: Path, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        variables = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self._cache),
            "TZ": "UTC",
            "RESTIC_REPOSITORY": self._repository.address,
            "RESTIC_PASSWORD_FILE": str(password_file),
            "RESTIC_CACHE_DIR": str(self._cache),
            "RESTIC_PROGRESS_FPS": "2",
            **self._repository.variables,
        }
        try:
            return subprocess.Popen(
                argv, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        except FileNotFoundError as error:
            raise NoBackupProgram("The program restic is not installed.", next_step="Install it.") from error


def _follow(
    process: subprocess.Popen[bytes],
    limit_seconds: float,
    on_line: Callable[[str], None],
    moved: Callable[[], object],
) -> None:
    """Until the program ends. Raises TargetStalled; a process that can't be killed is left to the kernel."""
    assert process.stdout is not None
    rest, seen, since = b"", moved(), time.monotonic()
    with selectors.DefaultSelector() as selector, process.stdout as stream:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=0.5):
                chunk = os.read(stream.fileno(), 65536)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    on_line(line.decode(errors="replace"))
            if (mark := moved()) != seen:
                seen, since = mark, time.monotonic()
            elif time.monotonic() - since > limit_seconds:
                process.kill()
                raise stalled(limit_seconds)
    if rest:
        on_line(rest.decode(errors="replace"))
    process.wait(timeout=QUICK_SECONDS)


def _message(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _epoch_seconds(iso: str) -> float:
    # restic writes nanoseconds, which Python 3.11 cuts to microseconds
    return datetime.fromisoformat(iso).timestamp()
