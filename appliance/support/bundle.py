"""A support bundle: collected and redacted by a job, read by an admin, encrypted for the vendor, downloaded.

    NONE → REQUESTED → COLLECTING → READY (sealed at will) → NONE after a day, or when discarded
                                  → FAILED

Everything lies in one folder of the state directory, in clear but redacted; only `seal_bundle` makes the file
that leaves, and nothing is sent by the box. A core that dies in between starts the collection again.
"""

import fcntl
import io
import shutil
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import pyrage
from pydantic import BaseModel, ConfigDict
from sqlite_utils import Database

from appliance.clock import now
from appliance.errors import Refusal, Refused
from appliance.host import Host
from appliance.people import Account, AuditEvent, record_audit
from appliance.private_file import replace
from appliance.settings import Settings
from appliance.support.redaction import Redactor, box_pseudonyms, known_of
from appliance.support.sources import SOURCES, Context, Part, Source
from appliance.support.trust import load_vendor

FILE_LIMIT_BYTES = 2 * 1024 * 1024
BUNDLE_LIMIT_BYTES = 24 * 1024 * 1024
TIME_LIMIT_SECONDS = 180.0
KEPT_SECONDS = 24 * 3600.0
TRIES = 2
_LIMIT = "A limit of size or time was reached.\n"


class BundleBusy(Refused):
    """One is being collected."""

    code = "support_bundle_busy"
    http_status = 409


class BundleMissing(Refused):
    """There is no bundle, or no such file in it."""

    code = "support_bundle_missing"
    http_status = 404


class BundleState(StrEnum):
    """See the module."""

    NONE = "none"
    REQUESTED = "requested"
    COLLECTING = "collecting"
    READY = "ready"
    FAILED = "failed"


class BundleFile(BaseModel):
    """One file as it would leave; `removed` counts what was taken out, by kind."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    path: str
    size_bytes: int
    removed: dict[str, int] = {}


class Bundle(BaseModel):
    """The bundle as it is now. `step` names the source that is being read."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    state: BundleState = BundleState.NONE
    requested_by: str = ""
    requested_at: float = 0.0
    hide_addresses: bool = False
    tries: int = 0
    percent: int = 0
    step: str = ""
    error: str = ""
    files: tuple[BundleFile, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def removed(self) -> dict[str, int]:
        """Over all files, by kind, the most frequent first."""
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.removed)
        return dict(total.most_common())


def read_bundle_state(settings: Settings) -> Bundle:
    """NONE before the first."""
    try:
        return Bundle.model_validate_json(_state_file(settings).read_bytes())
    except FileNotFoundError:
        return Bundle()


def request_bundle(settings: Settings, *, admin: Account, hide_addresses: bool) -> None:
    """Asks the core for a fresh bundle; one that lies there is gone. Raises NoVendor, BundleBusy."""
    load_vendor(settings.vendor_support_file)
    with _alone(settings):
        if read_bundle_state(settings).state in {BundleState.REQUESTED, BundleState.COLLECTING}:
            raise BundleBusy("A bundle is being collected.", next_step="Wait until it is ready.")
        _clear(settings)
        _tell(
            settings,
            Bundle(
                state=BundleState.REQUESTED,
                requested_by=admin.name,
                requested_at=now(),
                hide_addresses=hide_addresses,
            ),
        )


def discard_bundle(settings: Settings) -> None:
    """Takes a bundle away; none is fine. Raises BundleBusy."""
    with _alone(settings):
        if read_bundle_state(settings).state is BundleState.COLLECTING:
            raise BundleBusy("A bundle is being collected.", next_step="Wait until it is ready.")
        _clear(settings)


def collect_requested_bundle(settings: Settings, db: Database, activity: Database, host: Host) -> str:
    """Collects what was asked for, and forgets what is a day old. A job of the core, safe to repeat."""
    bundle = read_bundle_state(settings)
    if bundle.state in {BundleState.READY, BundleState.FAILED} and now() - bundle.requested_at > KEPT_SECONDS:
        discard_bundle(settings)
        return "the support bundle of yesterday is gone"
    if bundle.state not in {BundleState.REQUESTED, BundleState.COLLECTING}:
        return ""
    if bundle.tries >= TRIES:
        _tell(settings, bundle.model_copy(update={"state": BundleState.FAILED, "error": bundle.step}))
        return "the support bundle could not be collected"
    bundle = bundle.model_copy(update={"state": BundleState.COLLECTING, "tries": bundle.tries + 1})
    context = Context(settings, db, activity, host)
    files = list(_collect(context, bundle))
    done = bundle.model_copy(
        update={"state": BundleState.READY, "files": tuple(files), "percent": 100, "step": ""}
    )
    _tell(settings, done)
    record_audit(
        activity,
        AuditEvent.ADMIN_BUNDLE_MADE,
        actor=bundle.requested_by,
        detail=f"{len(files)} files, {done.size_bytes} bytes, {sum(done.removed.values())} removals",
    )
    return f"a support bundle of {len(files)} files is ready"


def read_bundle_file(settings: Settings, path: str) -> str:
    """What the vendor would read. Raises BundleMissing."""
    if path not in {file.path for file in read_bundle_state(settings).files}:
        raise BundleMissing("There is no such file in the bundle.")
    return (_files_folder(settings) / path).read_text()


def seal_bundle(settings: Settings) -> bytes:
    """The tar of the files, encrypted for the vendor (age, X25519). Raises BundleMissing, NoVendor."""
    bundle = read_bundle_state(settings)
    if bundle.state is not BundleState.READY:
        raise BundleMissing("There is no bundle to download.", next_step="Make one first.")
    recipient = load_vendor(settings.vendor_support_file).recipient
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for file in bundle.files:
            entry = tarfile.TarInfo(f"cellule-support/{file.path}")
            content = (_files_folder(settings) / file.path).read_bytes()
            entry.size, entry.mtime = len(content), int(bundle.requested_at)
            archive.addfile(entry, io.BytesIO(content))
    return bytes(pyrage.encrypt(tar.getvalue(), [recipient]))


def _collect(context: Context, bundle: Bundle) -> Iterator[BundleFile]:
    """Writes each part, redacted, as it comes; what passes a limit is cut off and says so."""
    settings = context.settings
    shutil.rmtree(_files_folder(settings), ignore_errors=True)
    redactor = Redactor(
        known_of(settings, context.db), box_pseudonyms(settings), hide_addresses=bundle.hide_addresses
    )
    began, room = time.monotonic(), BUNDLE_LIMIT_BYTES
    for number, source in enumerate(SOURCES):
        percent = 100 * number // len(SOURCES)
        _tell(settings, bundle.model_copy(update={"percent": percent, "step": source.name}))
        for part in _parts(context, source):
            if room <= 0 or time.monotonic() - began > TIME_LIMIT_SECONDS:
                yield _write(settings, redactor, Part(f"{source.name}-left-out.txt", _LIMIT))
                break
            file = _write(settings, redactor, part)
            room -= file.size_bytes
            yield file


def _parts(context: Context, source: Source) -> Iterator[Part]:
    try:
        yield from source.read(context)
    except (Refusal, OSError, ValueError) as error:
        yield Part(f"{source.name}-failed.txt", f"{type(error).__name__}: {error}\n")


def _write(settings: Settings, redactor: Redactor, part: Part) -> BundleFile:
    redacted = redactor.redact(_bounded(part.text))
    path = _files_folder(settings) / part.path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = redacted.text.encode("utf-8", "replace")
    path.write_bytes(content)
    return BundleFile(path=part.path, size_bytes=len(content), removed=dict(redacted.removed))


def _bounded(text: str) -> str:
    """The end of it, from the start of a line on."""
    if len(text) <= FILE_LIMIT_BYTES:
        return text
    return "[the beginning was left out]\n" + text[-FILE_LIMIT_BYTES:].partition("\n")[2]


def _folder(settings: Settings) -> Path:
    folder = settings.state_dir / "support"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _files_folder(settings: Settings) -> Path:
    return _folder(settings) / "files"


def _state_file(settings: Settings) -> Path:
    return _folder(settings) / "bundle.json"


def _tell(settings: Settings, bundle: Bundle) -> None:
    replace(_state_file(settings), bundle.model_dump_json().encode())


def _clear(settings: Settings) -> None:
    _state_file(settings).unlink(missing_ok=True)
    shutil.rmtree(_files_folder(settings), ignore_errors=True)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two admins who press at once: one after the other."""
    with (_folder(settings) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
