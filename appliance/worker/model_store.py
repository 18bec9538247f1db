"""The models on a worker's disk, by hash: a file lies under blobs/ only after it had its hash there.

    blobs/SHA256      whole files           pieces/SHA256   the box's list of pieces
    partial/SHA256    files on their way    bundles/DIGEST  a model as its engine opens it, of hard links
    manifests/DIGEST  what belongs to a model

A power cut leaves nothing that looks whole and isn't. What is partial is never believed: after a restart
each piece of it is checked again.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from appliance.handout.pieces import DamagedFile, PieceList, PieceListRefused, decode_piece_list, has_hash
from appliance.models.bundle import Bundle, BundleFile
from appliance.private_file import replace, sync_folder
from appliance.worker.model_room import Unused
from appliance.worker.part_file import MAP_SUFFIX, PartFile

FOLDERS = ("blobs", "pieces", "partial", "bundles", "manifests")


class ModelStore:
    """`root` is made when something is first put there. Used by one process; `seed_server` only reads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, bundle: Bundle) -> Path | None:
        """What an engine opens, the GGUF file or the OpenVINO folder; None before all of it is here."""
        folder = self.root / "bundles" / bundle.digest
        # a file alone may have come under another name before: its bytes name the folder
        held = self.manifest(bundle.digest) or bundle
        return held.opened_in(folder) if folder.is_dir() else None

    def digest_of(self, path: Path) -> str | None:
        """The model that `find` gave `path` for."""
        bundles = self.root / "bundles"
        return path.relative_to(bundles).parts[0] if path.is_relative_to(bundles) else None

    def complete(self) -> dict[str, Bundle]:
        """Every model that is here, by digest, in order of last use."""
        found = {folder: used_at for folder in self._folders() if (used_at := _used_at(folder)) is not None}
        manifests = (
            (folder.name, self.manifest(folder.name)) for folder in sorted(found, key=found.__getitem__)
        )
        return {digest: bundle for digest, bundle in manifests if bundle is not None}

    def manifest(self, digest: str) -> Bundle | None:
        """What belongs to a model that is here or was begun."""
        try:
            return Bundle.model_validate_json((self.root / "manifests" / digest).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def note(self, bundle: Bundle) -> None:
        """Remembers what belongs to a model that is about to come."""
        for name in FOLDERS:
            (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self.root / "manifests" / bundle.digest, bundle.model_dump_json().encode())

    def missing(self, bundle: Bundle) -> list[BundleFile]:
        """The files that have not come yet, each once."""
        files = {file.sha256: file for file in bundle.files}.values()
        return [file for file in files if not self.blob(file.sha256).is_file()]

    def needed_bytes(self, bundle: Bundle) -> int:
        """What the disk must still give for it."""
        missing = self.missing(bundle)
        return sum(file.size_bytes - self._allocated(file.sha256) for file in missing)

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    def piece_list(self, file: BundleFile) -> PieceList | None:
        """The one that was kept."""
        try:
            return decode_piece_list((self.root / "pieces" / file.sha256).read_bytes(), file)
        except (FileNotFoundError, PieceListRefused):
            return None

    def keep_piece_list(self, pieces: PieceList) -> None:
        replace(self.root / "pieces" / pieces.sha256, pieces.encode())

    def open_part(self, pieces: PieceList) -> PartFile:
        """The file on its way, with the pieces of an earlier try that are right. Raises OSError."""
        return PartFile(self.root / "partial" / pieces.sha256, pieces)

    def accept(self, part: PartFile) -> None:
        """Makes a part whose pieces are all here a whole file. Raises DamagedFile, and forgets it then."""
        sha256 = part.pieces.sha256
        part.sync()
        if not has_hash(part.path, sha256):
            self.drop_part(sha256)
            raise DamagedFile(f"The file {sha256[:12]} did not have its hash and was thrown away.")
        part.path.rename(self.blob(sha256))
        sync_folder(self.root / "blobs")
        part.forget_map()

    def drop_part(self, sha256: str) -> None:
        """Gives back what a file on its way takes of the disk."""
        for path in (self.root / "partial").glob(f"{sha256}*"):
            path.unlink(missing_ok=True)

    def drop_unwanted(self, except_for: frozenset[str]) -> None:
        """Gives back what files take that nobody waits for any more, on their way or whole and of no model.

        With what is left of a model in whose removal the worker was killed.
        """
        for path in (self.root / "partial").glob("*"):
            if path.name.partition(".")[0] not in except_for:
                path.unlink(missing_ok=True)
        for left in (self.root / "bundles").glob(".*"):
            shutil.rmtree(left, ignore_errors=True)
        for blob in (self.root / "blobs").glob("*"):
            if blob.stat().st_nlink == 1 and blob.name not in except_for:
                blob.unlink()
                (self.root / "pieces" / blob.name).unlink(missing_ok=True)

    def forget_maps(self) -> None:
        """What was here before a restart is not believed, nor given to others, until it was checked."""
        for path in (self.root / "partial").glob(f"*{MAP_SUFFIX}"):
            path.unlink(missing_ok=True)

    def assemble(self, bundle: Bundle) -> None:
        """Makes the model's folder appear, whole. All its files are here."""
        folder = self.root / "bundles" / bundle.digest
        draft = folder.with_name(f".{bundle.digest}")
        shutil.rmtree(draft, ignore_errors=True)
        for file in bundle.files:
            place = draft / file.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.link(self.blob(file.sha256), place)
        draft.rename(folder)
        sync_folder(folder.parent)

    def touch(self, digest: str) -> None:
        """Notes that the model is in use now."""
        # where it is not here, or goes just now
        with suppress(FileNotFoundError):
            os.utime(self.root / "bundles" / digest)

    def unused(self, kept: frozenset[str]) -> list[Unused]:
        """Models that may go, all but `kept`."""
        return [
            Unused(folder.name, self._frees_bytes(folder), folder.stat().st_mtime)
            for folder in self._folders()
            if folder.name not in kept
        ]

    def remove(self, digest: str, except_for: frozenset[str] = frozenset()) -> None:
        """Takes a model away; files that it shares with another stay, and those that are waited for."""
        folder = self.root / "bundles" / digest
        # not a model any more from here on, whatever comes in between
        folder.rename(folder.with_name(f".{digest}"))
        (self.root / "manifests" / digest).unlink(missing_ok=True)
        self.drop_unwanted(except_for)

    def wipe(self) -> None:
        """Takes away everything that was handed out: this machine is no worker any more."""
        for name in FOLDERS:
            shutil.rmtree(self.root / name, ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()

    def stored_bytes(self) -> int:
        """What all files take of the disk, also those on their way."""
        return sum(_allocated(path) for name in ("blobs", "partial") for path in (self.root / name).glob("*"))

    def free_bytes(self) -> int:
        """What the disk has left for us."""
        nearest = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        return shutil.disk_usage(nearest).free

    def _folders(self) -> list[Path]:
        return [folder for folder in (self.root / "bundles").glob("*") if not folder.name.startswith(".")]

    def _frees_bytes(self, folder: Path) -> int:
        # one link is the folder's, one is the blob's: a third belongs to another model
        files = (path for path in folder.rglob("*") if path.is_file())
        return sum(_allocated(path) for path in files if path.stat().st_nlink == 2)

    def _allocated(self, sha256: str) -> int:
        path = self.root / "partial" / sha256
        return min(path.stat().st_size, _allocated(path)) if path.is_file() else 0


def _used_at(folder: Path) -> float | None:
    """None where another thread takes it away just now."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return None


def _allocated(path: Path) -> int:
    return path.stat().st_blocks * 512
