"""A file that only its owner reads and that several processes may want to make at the same moment.

It appears complete or not at all, with mode 0600 from its first instant; the first one made counts. Once it
is there a power cut doesn't take it away: its folder is synced, too. One that root makes in another user's
folder belongs to that user, and what that user may have put in its place (a
link to a file of the system) is neither written through nor given away.
"""

import contextlib
import os
import secrets
from pathlib import Path


def write_once(path: Path, content: bytes) -> bytes:
    """Makes `path` with `content` unless it exists; returns what it holds now, whoever made it."""
    draft = _draft(path, content)
    # a link either makes the complete file or fails because another process was first
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    sync_folder(path.parent)
    return path.read_bytes()


def replace(path: Path, content: bytes) -> None:
    """Puts `content` in the place of whatever `path` held, in one step."""
    _draft(path, content).replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Has the names in `folder` on the disk: the sync of a file is not one of its name (fsync(2))."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
