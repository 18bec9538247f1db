"""The store: every file once, by its hash, and used only after it had it.

A file comes in by being linked from `incoming`, on the same disk, after `hash_files` read it there to its
end. There it stays until its model has a record: a box that is killed goes on with all of it. A bundle
appears whole, by one rename, or not at all. Where nothing refers to a blob any more it is an orphan.
Nothing in the store is ever written again, so that what an engine has mapped can't change under it.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from appliance.errors import NotTrusted, Refused
from appliance.handout.pieces import PieceList, list_pieces
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.layout import blob_path, blobs_dir, bundle_folder, incoming_dir, models_dir
from appliance.models.memory import told_bytes
from appliance.private_file import replace, sync_folder

_CHUNK_BYTES = 4 * 2**20
_MOST_RESERVE_BYTES = 2 * 2**30
_BUNDLE_FOLDER = re.compile(r"\.?[0-9a-f]{64}")
"""A bundle, or one that was being made; whatever else lies there is not ours."""
_FOLDER_MODE, _FILE_MODE = 0o755, 0o444
"""Engines run as another user."""


class StoreFull(Refused):
    """There is no room for the model; nothing was changed."""

    code = "model_store_full"
    http_status = 507


class ModelDamaged(NotTrusted):
    """A file is not the one that its hash names."""

    code = "model_damaged"
    http_status = 409
    openai_type = "invalid_request_error"


class Store:
    """The store of the box whose state lies in `state_dir`; `quota_bytes` None: the disk is the limit."""

    def __init__(self, state_dir: Path, *, quota_bytes: int | None = None) -> None:
        self.state_dir = state_dir
        self._quota_bytes = quota_bytes
        for folder in (models_dir(state_dir), blobs_dir(state_dir)):
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            folder.chmod(_FOLDER_MODE)
        incoming_dir(state_dir).mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else adds, removes or cleans meanwhile, in any process: files and record go together."""
        with (models_dir(self.state_dir) / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def used_bytes(self) -> int:
        """Of files that are in the store; one that two models share counts once."""
        total = 0
        for file in blobs_dir(self.state_dir).iterdir():
            # a model may be removed while a page counts
            with suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def require_room(
        self,
        model_bytes: int,
        to_come_bytes: int,
        *,
        others_model_bytes: int = 0,
        others_to_come_bytes: int = 0,
    ) -> None:
        """Raises StoreFull unless a model so large fits into the quota, and what is to come onto the disk.

        `others…`: the same of models that are on their way already.
        """
        used = self.used_bytes() + others_model_bytes
        if self._quota_bytes is not None and used + model_bytes > self._quota_bytes:
            raise StoreFull(
                f"The model needs {told_bytes(model_bytes)}; models have {told_bytes(used)} of the "
                f"{told_bytes(self._quota_bytes)} that an admin gave them.",
                next_step="Remove a model that nobody uses, or give models more room.",
            )
        disk = shutil.disk_usage(models_dir(self.state_dir))
        free = max(0, disk.free - others_to_come_bytes)
        if to_come_bytes > free - reserve_bytes(disk.total):
            raise StoreFull(
                f"The model needs {told_bytes(to_come_bytes)}; the disk has {told_bytes(free)} free, of "
                f"which {told_bytes(reserve_bytes(disk.total))} stay for the box.",
                next_step="Remove a model that nobody uses.",
            )

    def keep_reserve(self, to_come_bytes: int = 0) -> None:
        """Raises StoreFull once somebody else fills the disk while a model comes: before the box has none."""
        disk = shutil.disk_usage(models_dir(self.state_dir))
        if disk.free - to_come_bytes < reserve_bytes(disk.total):
            raise StoreFull(
                f"The disk has {told_bytes(disk.free)} free, which the box needs for itself.",
                next_step="Remove a model that nobody uses.",
            )

    def held_already(self, bundle: Bundle) -> list[BundleFile]:
        """Those of its files that came with other models before."""
        return [file for file in bundle.files if blob_path(self.state_dir, file.sha256).exists()]

    def damaged(
        self, held: Iterable[BundleFile], on_bytes: Callable[[int], None] = lambda _: None
    ) -> frozenset[str]:
        """The hashes of files in the store that have lost them. Reads them all: not within `alone`."""
        return frozenset(
            file.sha256
            for file in held
            if not self._is_sound(blob_path(self.state_dir, file.sha256), on_bytes)
        )

    def add(
        self,
        incoming: Mapping[str, Path],
        bundle: Bundle,
        damaged: Collection[str],
        pieces: Iterable[PieceList] = (),
    ) -> Bundle:
        """Links files that were verified (`hash_files`) into the store; the bundle as it lies there.

        A file alone keeps the name that it first came with: the folder is named by its bytes. The lists of
        their `pieces` are kept for the hand-out. What is there already is kept unless it is `damaged`. The
        caller takes `incoming` away. Within `alone`. Raises StoreFull.
        """
        folder = bundle_folder(self.state_dir, bundle.digest)
        draft = folder.with_name(f".{bundle.digest}")
        to_mend = set(damaged)
        with _no_room():
            shutil.rmtree(draft, ignore_errors=True)
            for file in bundle.files:
                self._take_in(incoming[file.path], file.sha256, is_damaged=file.sha256 in to_mend)
                to_mend.discard(file.sha256)
                link = draft / file.path
                _make_folders(draft, link.parent)
                link.hardlink_to(blob_path(self.state_dir, file.sha256))
            for each in pieces:
                replace(models_dir(self.state_dir) / "pieces" / each.sha256, each.encode())
            if folder.exists():
                shutil.rmtree(draft)
            else:
                draft.rename(folder)
            sync_folder(models_dir(self.state_dir))
        return _named_as_in(folder, bundle)

    def verify(self, bundle: Bundle, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Reads every file again. Raises ModelDamaged."""
        folder = bundle_folder(self.state_dir, bundle.digest)
        for file in bundle.files:
            path = folder / file.path
            if not path.is_file():
                raise ModelDamaged(f"{file.path} is missing.", next_step="Get the model again.")
            check_file(path, file, on_bytes)

    def remove(self, digest: str) -> None:
        """Takes the bundle's folder away, and every blob that nothing else needs. Within `alone`."""
        shutil.rmtree(bundle_folder(self.state_dir, digest), ignore_errors=True)
        self._remove_orphan_blobs()

    def clean(self, known_digests: Iterable[str], busy_incoming: Iterable[str] = ()) -> int:
        """Removes what no record names: bundles, blobs, what is in `incoming`; how many bundles went.

        Within `alone`, in which the records were read, too.
        """
        known = set(known_digests)
        orphans = [
            each
            for each in models_dir(self.state_dir).iterdir()
            if _BUNDLE_FOLDER.fullmatch(each.name) and each.name not in known
        ]
        busy = set(busy_incoming)
        left = [each for each in incoming_dir(self.state_dir).iterdir() if each.name not in busy]
        for path in (*orphans, *left):
            shutil.rmtree(path, ignore_errors=True)
        self._remove_orphan_blobs()
        return len(orphans)

    def _is_sound(self, blob: Path, on_bytes: Callable[[int], None]) -> bool:
        try:
            return _sha256(blob, on_bytes) == blob.name
        except FileNotFoundError:
            return True  # removed meanwhile: there is nothing to mend

    def _take_in(self, file: Path, sha256: str, *, is_damaged: bool) -> None:
        blob = blob_path(self.state_dir, sha256)
        # one that came since the damaged ones were looked for had its hash a moment ago
        if blob.exists() and not is_damaged:
            return
        former = blob.stat().st_ino if blob.exists() else None
        file.chmod(_FILE_MODE)
        new = blob.with_name(f".{sha256}")
        new.unlink(missing_ok=True)
        new.hardlink_to(file)
        new.replace(blob)
        sync_folder(blob.parent)
        if former is not None:
            self._mend_links(former, blob)

    def _mend_links(self, damaged: int, blob: Path) -> None:
        """Bundles that hold the damaged file get the good one. An engine that has it open keeps the old."""
        for link in models_dir(self.state_dir).glob("[0-9a-f]*/**/*"):
            if link.stat().st_ino == damaged:
                good = link.with_name(f".{link.name}.good")
                good.hardlink_to(blob)
                good.replace(link)

    def _remove_orphan_blobs(self) -> None:
        for blob in blobs_dir(self.state_dir).iterdir():
            if blob.stat().st_nlink == 1:
                blob.unlink()
                # the list of its pieces
                (models_dir(self.state_dir) / "pieces" / blob.name).unlink(missing_ok=True)


def hash_files(
    kind: ModelFormat,
    files: Mapping[str, Path],
    on_bytes: Callable[[int], None] = lambda _: None,
    on_pieces: Callable[[PieceList], None] | None = None,
) -> Bundle:
    """The bundle that these files are, read to their ends; they are on the disk when this returns.

    `on_pieces` gets the list of each file's pieces, which come with the same reading.
    """

    def hashed(path: Path) -> str:
        if on_pieces is None:
            return _sha256(path, on_bytes)
        with _from_disk(path) as file:
            pieces = list_pieces(file, path.stat().st_size, on_bytes)
        on_pieces(pieces)
        return pieces.sha256

    return Bundle(
        format=kind,
        files=tuple(
            BundleFile(path=path, size_bytes=files[path].stat().st_size, sha256=hashed(files[path]))
            for path in sorted(files)
        ),
    )


def check_file(path: Path, expected: BundleFile, on_bytes: Callable[[int], None] = lambda _: None) -> None:
    """Raises ModelDamaged unless the file is the expected one, byte for byte."""
    size = path.stat().st_size
    if size != expected.size_bytes:
        raise ModelDamaged(
            f"{expected.path} has {size:,} bytes and should have {expected.size_bytes:,}.",
            next_step="Get the model again.",
        )
    if _sha256(path, on_bytes) != expected.sha256:
        raise ModelDamaged(
            f"{expected.path} is not the file that its hash names: it was changed or damaged.",
            next_step="Get the model again.",
        )


def _named_as_in(folder: Path, bundle: Bundle) -> Bundle:
    if len(bundle.files) > 1:
        return bundle  # their names are part of the hash
    held = next(path for path in folder.rglob("*") if path.is_file())
    file = bundle.files[0].model_copy(update={"path": held.relative_to(folder).as_posix()})
    return bundle.model_copy(update={"files": (file,)})


def bytes_in(folder: Path) -> int:
    """Of the files in a folder of `incoming`; those whose names begin with a dot are notes of ours."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and not path.name.startswith("."):
                total += path.stat().st_size
    return total


def reserve_bytes(disk_bytes: int) -> int:
    """What models leave free for the running box."""
    return min(_MOST_RESERVE_BYTES, disk_bytes // 20)


@contextmanager
def _from_disk(path: Path) -> Iterator[BinaryIO]:
    """What is hashed shall come from the disk, not from what was just written to memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        yield file


def _sha256(path: Path, on_bytes: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with _from_disk(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def _make_folders(top: Path, folder: Path) -> None:
    for each in (
        top,
        *reversed([p for p in (folder, *folder.parents) if p.is_relative_to(top) and p != top]),
    ):
        each.mkdir(exist_ok=True)
        each.chmod(_FOLDER_MODE)


@contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreFull("The disk is full.", next_step="Remove a model that nobody uses.") from error
