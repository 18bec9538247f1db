"""Releases that a person carries to the box: a USB stick, or one uploaded file. The same verifier, the same
history.

Found out (the stick mounted, the file unpacked beside) → signatures (`trust.look`, with patience for a copy
of a channel that is some months old: decision 0008) → the whole bundle against its signed hash. Until all
of it has held, what was there before stays; a stick that is pulled, a full disk or a damaged file end the
check with its reason and leave nothing behind.
"""

import errno
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.clock import Clock, now
from appliance.errors import NotTrusted, Refusal, Refused
from appliance.host import Host
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.updating.archive import NotAnUpdateFile, unpack
from appliance.updating.fetching import FolderFetcher
from appliance.updating.found import record_offer
from appliance.updating.installs import InstallUnderWay, unfinished_install
from appliance.updating.offline_checks import (
    Check,
    Meter,
    NoRoom,
    begin_check,
    check_room,
    end_check,
    incoming_dir,
    newest_check,
)
from appliance.updating.release import METADATA_FOLDER, TARGETS_FOLDER, Offer, Origin, Release
from appliance.updating.this_box import channel_root, updates_dir
from appliance.updating.trust import ChannelNotTrusted, Patience, look

PATIENCE = Patience(days=180)
_STALE_UPLOAD_SECONDS = 24 * 3600.0
_CHUNK_BYTES = 4 * 1024 * 1024


class MediumGone(Refused):
    """The stick was pulled while it was read, or is damaged."""

    code = "medium_gone"


class NothingOnStick(Refused):
    """There is a stick, but neither a channel nor an update file on it."""

    code = "nothing_on_stick"
    http_status = 404


def follow_offline(settings: Settings, host: Host, *, clock: Clock = now) -> str:
    """Does the check that was asked for, also one that a restart cut off; a sentence when it ended."""
    with open_activity(settings.state_dir) as activity:
        check = newest_check(activity)
        if check is None or check.state.is_over:
            _remove_stale_uploads(settings, clock())
            return ""
        try:
            checker = _Checker(settings, host, clock(), begin_check(activity, check))
            offer, folder = checker.check(check)
        except Refusal as refusal:
            end_check(activity, check, at=clock(), code=refusal.code, sentence=refusal.sentence)
            if isinstance(refusal, NotTrusted):
                record_audit(
                    activity, AuditEvent.BOX_RELEASE_REFUSED, subject=check.name, detail=refusal.sentence
                )
            return f"{check.name}: {refusal.sentence}"
        record_offer(activity, check.origin, f"{folder}/{TARGETS_FOLDER}", offer, at=clock())
        end_check(activity, check, at=clock())
        return f"{check.name} holds {', '.join(release.version for release in offer.releases)}"


class _Checker:
    """One check as of `at`; `check` returns the releases that are whole, and the folder they lie in."""

    def __init__(self, settings: Settings, host: Host, at: float, meter: Meter) -> None:
        self._settings, self._host, self._at, self._meter = settings, host, at, meter

    def check(self, check: Check) -> tuple[Offer, Path]:
        """Raises a Refusal of the verifier, the archive, the host or this module."""
        self._refuse_while_installing()
        with _troubles():
            if check.origin is Origin.STICK:
                return self._stick(Path(self._host.mount_stick()))
            try:
                return self._file(Path(check.path), Origin.UPLOAD)
            finally:
                Path(check.path).unlink(missing_ok=True)

    def _refuse_while_installing(self) -> None:
        """The installer may be reading what this check would replace."""
        with open_cellule(self._settings.state_dir) as db:
            install = unfinished_install(db)
        if install is not None and install.stage.is_under_way:
            raise InstallUnderWay("An install is under way already.", next_step="Wait until it has ended.")

    def _stick(self, stick: Path) -> tuple[Offer, Path]:
        # the installer takes no path with a space in it
        folders = [
            path
            for path in sorted(stick.iterdir())
            if path.is_dir() and not path.is_symlink() and len(path.name.split()) == 1
        ]
        for folder in (stick, *folders):
            if (folder / METADATA_FOLDER / "timestamp.json").is_file():
                return self._folder(folder), folder
        for file in sorted(stick.glob("*.tar")):
            if file.is_file() and not file.is_symlink():
                return self._file(file, Origin.STICK)
        raise NothingOnStick(
            "There is no channel and no update file on the stick.",
            next_step=(
                "Copy the channel's folders metadata and targets to it, not into a folder with a space "
                "in its name; or an update file (.tar)."
            ),
        )

    def _file(self, file: Path, origin: Origin) -> tuple[Offer, Path]:
        """Unpacks and verifies beside what was there before, then takes its place."""
        updates, place = updates_dir(self._settings), updates_dir(self._settings) / origin.value
        check_room(self._settings, file.stat().st_size, copies=1)
        draft = Path(tempfile.mkdtemp(prefix=".unpacked-", dir=updates))
        try:
            unpack(file, draft)
            offer = self._folder(draft)
            if place.exists():
                shutil.rmtree(place)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return offer, place

    def _folder(self, folder: Path) -> Offer:
        """What the channel in `folder` signs and holds whole."""
        store, root = updates_dir(self._settings) / "trusted", channel_root(self._settings)
        fetcher = FolderFetcher(folder)
        offer = look(f"file://{folder}/", store, root, fetcher, at=self._at, patience=PATIENCE)
        bundles = folder / TARGETS_FOLDER
        present = [release for release in offer.releases if (bundles / release.bundle).is_file()]
        if not present:
            raise NotAnUpdateFile("There is a channel, but none of its releases is with it.")
        self._meter.begin(sum(release.size_bytes for release in present))
        for release in present:
            self._bundle(bundles / release.bundle, release)
        return Offer(tuple(present), offer.expired_at)

    def _bundle(self, path: Path, release: Release) -> None:
        digest, size = hashlib.sha256(), 0
        if path.is_symlink():
            raise ChannelNotTrusted(f"{path.name} is a link.")
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                self._meter.add(len(chunk))
        if size != release.size_bytes or digest.hexdigest() != release.sha256:
            raise ChannelNotTrusted(
                f"{path.name} is not the file that was signed: it was changed, or is not whole."
            )


@contextmanager
def _troubles() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NoRoom("The data partition is full.") from error
        raise MediumGone(f"It could not be read to its end ({error.strerror}).") from error


def _remove_stale_uploads(settings: Settings, at: float) -> None:
    """What a browser began to send and never finished."""
    for path in incoming_dir(settings).iterdir():
        if at - path.stat().st_mtime > _STALE_UPLOAD_SECONDS:
            path.unlink(missing_ok=True)
