"""Models that a person carries to the box: on a USB stick, or in a folder of the NAS.

A model is a GGUF file (with its further parts), the folder of an OpenVINO model, or one of safetensors, which
must be converted. A hash beside it (FILE.sha256, or SHA256SUMS, as sha256sum(1) writes them) is held against
the copy. Links are not followed: they lead out of the medium. A copy that was cut off goes on where it was,
if the files on the medium are still the same.
"""

import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Refusal, Refused, TryAgain
from appliance.host import Host, HostFailed, NotFound
from appliance.keeping import BackupChoice, NfsTarget, SmbTarget
from appliance.keeping.nas import mounted_nas
from appliance.keeping.repository import nas_plan
from appliance.keeping.targets import target_secret
from appliance.models.bundle import MOST_FILES
from appliance.models.gets import CarriedOrder
from appliance.models.reading import must_convert
from appliance.models.store import StoreFull, bytes_in
from appliance.settings import Settings
from appliance.storage import open_cellule, read_choice

NAS_FOLDER = "models"
"""Beside the backups, on the share that an admin chose for them."""
_MOST_LISTED = 200
_DEEPEST = 3
_IN_A_FOLDER = ("openvino_model.xml", "openvino_encoder_model.xml", "model_index.json")
"""Each alone shows that the folder around it is a model."""
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_SUM_LINE = re.compile(r"^([0-9a-fA-F]{64}) [ *](.+)$")
_LARGEST_SUMS_BYTES = 2**20
_CHUNK_BYTES = 4 * 2**20
_SOURCE = ".source"
"""In the folder of the get: of which files it is the copy."""


class NothingCarried(Refused):
    """No model is there, or not the one that was asked for."""

    code = "no_model_carried"
    http_status = 404


class NoNasFolder(Refused):
    """No NAS is chosen, or it can't be mounted."""

    code = "no_nas_folder"


class MediumGone(TryAgain):
    """The stick was pulled while it was read, or is damaged; the NAS went away. What came is kept."""

    code = "medium_gone"
    longest_wait_seconds = 300.0
    """Whoever plugs it in again looks on."""


@dataclass(frozen=True)
class Carried:
    """One model on a medium; `path` is what CarriedOrder takes."""

    path: str
    size_bytes: int
    files: int
    must_convert: bool


@contextmanager
def medium(settings: Settings, host: Host, origin: str) -> Iterator[Path]:
    """Where its files lie while the work lasts.

    Raises NotFound of the host, NoNasFolder, MediumGone, StoreFull.
    """
    with _stick(host) if origin == "stick" else _nas(settings, host) as folder:
        try:
            yield folder
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull("The disk is full.", next_step="Remove a model that nobody uses.") from error
            raise MediumGone(
                f"It could not be read to its end ({error.strerror}).",
                retry_after_seconds=15,
                next_step="Plug it in again.",
            ) from error


@contextmanager
def waiting_for_medium(target: Path) -> Iterator[None]:
    """Once something came into `target`, a medium that is away is waited for: MediumGone."""
    try:
        yield
    except (NotFound, HostFailed, NoNasFolder, NothingCarried) as away:
        if not bytes_in(target):
            raise
        raise MediumGone(away.sentence, retry_after_seconds=15, next_step=away.next_step) from away


@contextmanager
def _stick(host: Host) -> Iterator[Path]:
    folder = Path(host.mount_stick())
    try:
        yield folder
    finally:
        with suppress(Refusal):
            host.release_stick()


@contextmanager
def _nas(settings: Settings, host: Host) -> Iterator[Path]:
    with open_cellule(settings.state_dir) as db:
        target = read_choice(db, BackupChoice).target
    if not isinstance(target, SmbTarget | NfsTarget):
        raise NoNasFolder(
            "No NAS folder is chosen.",
            next_step=f"Choose one for the backups (SMB or NFS); models lie in its folder {NAS_FOLDER}.",
        )
    with ExitStack() as mounted:
        plan = nas_plan(target, target_secret(settings))
        try:
            folder = mounted.enter_context(mounted_nas(settings, host, plan)) / NAS_FOLDER
        except HostFailed as error:
            raise NoNasFolder(f"The NAS can't be mounted: {error.sentence}") from error
        if not folder.is_dir():
            raise NoNasFolder(
                f"The NAS share has no folder {NAS_FOLDER}.", next_step="Make it, with models in it."
            )
        yield folder


def carried_models(folder: Path) -> list[Carried]:
    """What could be got from there, by path."""
    found = []
    for path in _walk(folder, _DEEPEST):
        inner = path.relative_to(folder).as_posix()
        part = _PART.search(path.name)
        is_gguf = path.suffix == ".gguf" and (part is None or int(part[1]) == 1)
        is_folder = path.name in _IN_A_FOLDER or path.suffix == ".safetensors"
        if is_folder and path.parent != folder:
            inner = path.parent.relative_to(folder).as_posix()
        elif not is_gguf:
            continue
        files = files_of(folder, inner)
        size_bytes = sum(file.stat().st_size for file in files.values())
        carried = Carried(inner, size_bytes, len(files), must_convert(files))
        if carried not in found:
            found.append(carried)
    return sorted(_whole(found), key=lambda each: each.path)[:_MOST_LISTED]


def _whole(found: list[Carried]) -> list[Carried]:
    """Without the folders inside a model's folder, as models that make images have them."""
    return [
        each
        for each in found
        if each.path.endswith(".gguf") or not any(each.path.startswith(f"{other.path}/") for other in found)
    ]


def files_of(folder: Path, inner: str) -> dict[str, Path]:
    """The files of one model by their paths inside it. Raises NothingCarried."""
    path = folder / inner
    if not any(path == top or top in path.parents for top in (folder,)) or _has_link(folder, path):
        raise NothingCarried(f"{inner} is a link, and links are not followed.")
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in _walk(path, _DEEPEST)}
        files = {name: file for name, file in files.items() if not name.startswith(".")}
    elif path.is_file() and (part := _PART.search(path.name)):
        siblings = path.parent.glob(f"{path.name[: part.start()]}-*-of-{part[2]}.gguf")
        files = {file.name: file for file in siblings if not file.is_symlink()}
    elif path.is_file():
        files = {path.name: path}
    else:
        files = {}
    if not files or len(files) > MOST_FILES:
        raise NothingCarried(f"There is no model at {inner}.", next_step="Look at the medium again.")
    return files


def copy_model(
    folder: Path, order: CarriedOrder, target: Path, on_bytes: Callable[[int], None]
) -> dict[str, str]:
    """Copies into `target`, going on with what is there; the SHA-256 by path that the medium names."""
    files = files_of(folder, order.path)
    _begin_anew_if_changed(files, target)
    for inner, file in files.items():
        _copy(file, target / inner, on_bytes)
    return _sums(files)


def _begin_anew_if_changed(files: Mapping[str, Path], target: Path) -> None:
    """The rest of another file, which was put there meanwhile, doesn't fit the part that came."""
    stats = {inner: file.stat() for inner, file in files.items()}
    seen = json.dumps({inner: [stat.st_size, stat.st_mtime_ns] for inner, stat in stats.items()})
    note = target / _SOURCE
    if note.exists() and note.read_text() == seen:
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700, parents=True)
    note.write_text(seen)


def _copy(source: Path, target: Path, on_bytes: Callable[[int], None]) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as read, target.open("ab") as written:
        at = written.tell()
        read.seek(at)
        on_bytes(at)
        while chunk := read.read(_CHUNK_BYTES):
            written.write(chunk)
            on_bytes(len(chunk))


def _sums(files: Mapping[str, Path]) -> dict[str, str]:
    found = {}
    for inner, file in files.items():
        for beside in (file.with_name(f"{file.name}.sha256"), file.with_name("SHA256SUMS")):
            if beside.is_file() and not beside.is_symlink() and beside.stat().st_size <= _LARGEST_SUMS_BYTES:
                for line in beside.read_text(errors="replace").splitlines():
                    match = _SUM_LINE.match(line)
                    if match and Path(match[2]).name == file.name:
                        found[inner] = match[1].lower()
    return found


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and depth > 1:
            yield from _walk(path, depth - 1)


def _has_link(folder: Path, path: Path) -> bool:
    steps = [path, *path.parents]
    return any(step.is_symlink() for step in steps[: steps.index(folder)])
