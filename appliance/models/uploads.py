"""Models that a browser sends, in chunks that say where they belong: a cut line goes on where it was.

begin → chunks in order, each once though it be sent twice → the last one hands the get over to the core,
which checks it. What nobody went on with for a day is thrown away.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from appliance.errors import Refused
from appliance.models.gets import (
    Get,
    GetState,
    GetUnknown,
    UploadFile,
    UploadOrder,
    measure_get,
    move_get,
    read_get,
    unfinished_gets,
)
from appliance.models.layout import incoming_dir
from appliance.models.store import Store, StoreFull

STALE_SECONDS = 24 * 3600.0
LARGEST_CHUNK_BYTES = 64 * 2**20


class ChunkRefused(Refused):
    """A chunk that doesn't follow the one before it; `next_step` says where to go on."""

    code = "upload_chunk_refused"
    http_status = 409


def receive_chunk(
    state_dir: Path, activity: Database, get_id: int, *, path: str, offset: int, data: bytes
) -> Get:
    """Writes one chunk at the end of a file; the get as it is then, WAITING once everything has come.

    A chunk that came already is fine. Raises GetUnknown, ChunkRefused, StoreFull.
    """
    get = read_get(activity, get_id)
    if get.state is not GetState.RECEIVING or not isinstance(get.order, UploadOrder) or get.cancelled:
        raise GetUnknown("Nothing is being uploaded there.", next_step="Begin the upload again.")
    expected = next((file for file in get.order.files if file.path == path), None)
    if expected is None:
        raise ChunkRefused(f"{path[:100]!r} is not among the files of this upload.")
    with _alone(incoming_dir(state_dir) / get.incoming_name):
        _write(state_dir, get, expected, offset, data)
        received = received_bytes(state_dir, get)
        # also for a chunk that came already: who wrote it may have been killed before the word
        if read_get(activity, get_id).state is GetState.RECEIVING:
            measure_get(activity, get, sum(received.values()))
            if all(received[file.path] == file.size_bytes for file in get.order.files):
                move_get(activity, get, GetState.WAITING)
    return read_get(activity, get_id)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A browser that gave up waiting sends a chunk again while the first one is still being written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(state_dir: Path, get: Get, file: UploadFile, offset: int, data: bytes) -> None:
    """Nothing where the chunk came already. Raises ChunkRefused, StoreFull."""
    target = _target(state_dir, get, file.path)
    here = target.stat().st_size if target.exists() else 0
    if offset + len(data) <= here:
        return
    if offset != here or len(data) > LARGEST_CHUNK_BYTES or offset + len(data) > file.size_bytes:
        raise ChunkRefused(
            f"{file.path} goes on at byte {here}, not at {offset}.", next_step=f"Send from byte {here}."
        )
    Store(state_dir).keep_reserve(len(data))
    _append(target, data)


def received_bytes(state_dir: Path, get: Get) -> dict[str, int]:
    """How much of each file is here: where a cut upload goes on."""
    assert isinstance(get.order, UploadOrder)
    targets = {file.path: _target(state_dir, get, file.path) for file in get.order.files}
    return {path: target.stat().st_size if target.exists() else 0 for path, target in targets.items()}


def receiving_bytes(state_dir: Path, activity: Database) -> tuple[int, int]:
    """Of all uploads that have begun: how large they will be, and how much of that is still to come."""
    whole, here = 0, 0
    for get in unfinished_gets(activity):
        if get.state is GetState.RECEIVING and isinstance(get.order, UploadOrder):
            whole += sum(file.size_bytes for file in get.order.files)
            here += sum(received_bytes(state_dir, get).values())
    return whole, whole - here


def is_stale(state_dir: Path, get: Get, at: float) -> bool:
    """Nobody sent anything for a day."""
    folder = incoming_dir(state_dir) / get.incoming_name
    times = [path.stat().st_mtime for path in folder.rglob("*")] if folder.exists() else []
    return at - max(times, default=get.asked_at) > STALE_SECONDS


def _target(state_dir: Path, get: Get, path: str) -> Path:
    return incoming_dir(state_dir) / get.incoming_name / path


def _append(target: Path, data: bytes) -> None:
    """All of the chunk, or, on a full disk, nothing of it."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("ab", buffering=0) as file:
        before, left = file.tell(), memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError as error:
            os.ftruncate(file.fileno(), before)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreFull("The disk is full.", next_step="Remove a model that nobody uses.") from error
