"""A channel as one file, for boxes without internet: a plain tar of metadata/ and targets/.

Whoever uploads one is not believed. Only members with the names and the type that a channel has are taken,
each bounded in size, written to fresh files in a fresh folder: no link, no path of the archive's own
choosing. The signatures are the verifier's matter; nothing is used before it has spoken.
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import Refused
from appliance.updating.release import BUNDLE_NAME, METADATA_FOLDER, TARGETS_FOLDER

LARGEST_ARCHIVE_BYTES = 8 * 1024**3
_LARGEST_METADATA_BYTES = 5_000_000
_MOST_MEMBERS = 2_000
_METADATA_NAME = re.compile(r"(\d{1,9}\.)?(root|targets|snapshot)\.json|timestamp\.json")
_CHUNK_BYTES = 1024 * 1024
_AGAIN = "Copy it again, then upload it again."


class NotAnUpdateFile(Refused):
    """The file is no tar of a channel, or not all of one."""

    code = "not_an_update_file"


class UpdateFileCutOff(NotAnUpdateFile):
    """The end of it is missing."""

    code = "update_file_cut_off"


def unpack(archive: Path, folder: Path) -> None:
    """Writes the members of `archive` into `folder`, which must be empty; `progress` gets the bytes written
    so far.

    Raises NotAnUpdateFile, UpdateFileCutOff; OSError, such as a full disk.
    """
    for name in (METADATA_FOLDER, TARGETS_FOLDER):
        (folder / name).mkdir()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in _members(tar):
                _copy(tar, member, folder / member.name)
    except tarfile.ReadError as error:
        kind = UpdateFileCutOff if "unexpected end" in str(error) else NotAnUpdateFile
        raise kind("The file is not a complete update file.", next_step=_AGAIN) from error
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        # the last three: fields of a header that hold no number, or an absurd one
        raise NotAnUpdateFile("The file is not an update file.") from error
    if not (folder / METADATA_FOLDER / "timestamp.json").exists():
        raise UpdateFileCutOff("The file is not a complete update file.", next_step=_AGAIN)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The files of a channel. Raises NotAnUpdateFile for anything else."""
    seen: set[str] = set()
    total = 0
    for member in tar:
        if member.isdir() and member.name in {"metadata", "targets", "."}:
            continue
        total += member.size
        if (
            member.type != tarfile.REGTYPE
            or member.issparse()
            or not _is_allowed(member)
            or member.name in seen
            or len(seen) >= _MOST_MEMBERS
            or total > LARGEST_ARCHIVE_BYTES
        ):
            raise NotAnUpdateFile("The file holds something that no update file holds.")
        seen.add(member.name)
        yield member


def _is_allowed(member: tarfile.TarInfo) -> bool:
    folder, _, name = member.name.rpartition("/")
    if folder == "metadata":
        return bool(_METADATA_NAME.fullmatch(name)) and member.size <= _LARGEST_METADATA_BYTES
    return folder == "targets" and bool(BUNDLE_NAME.fullmatch(name))


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source, left = tar.extractfile(member), member.size
    assert source, "a regular file"
    with path.open("xb") as file:
        while chunk := source.read(min(left, _CHUNK_BYTES)):
            left -= file.write(chunk)
    if left:
        raise UpdateFileCutOff("The file is not a complete update file.", next_step=_AGAIN)
