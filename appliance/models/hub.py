"""`python -m appliance.models.hub`: fetches one model from a hub, in a process of its own.

What is wanted comes as one line of JSON on stdin, and stdin stays open as long as it is wanted; what happens
goes out as lines of JSON. Files and their hashes are the hub's own word (the SHA-256 of large files, git's
hash of small ones), for one commit; each file is fetched into PATH.part, goes on where it was cut, and gets
its name only with its hash. The token is read from a file and sent to the hub alone.
"""

import contextlib
import hashlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_ETAG_TIMEOUT": "30",
    "HF_HUB_DOWNLOAD_TIMEOUT": "30",
}
"""Nothing is told to anybody, no token is looked for in somebody's home, and a slow line has its seconds."""
_LISTING_SECONDS = 30.0
"""The library's own default is to wait for ever."""
_TELL_SECONDS = 5.0
"""So often a long check is told of: who follows can tell work from silence."""
_CHUNK_BYTES = 4 * 2**20
_PIECE_BYTES = 64 * 2**10


class Remote(NamedTuple):
    """One file as the hub describes it; `git_sha1` where it is small and has no SHA-256."""

    path: str
    size_bytes: int
    sha256: str
    git_sha1: str


class WrongHash(Exception):
    """What came is not what the hub described."""


def main() -> None:
    os.environ.update(_QUIET)
    logging.disable(logging.CRITICAL)
    wanted = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_when_nobody_listens, daemon=True).start()
    try:
        _fetch(wanted)
    except Exception as error:
        _tell(failed=_kind(error), sentence=_sentence(error))
        _leave(1)
    _leave(0)


def _fetch(wanted: dict[str, Any]) -> None:
    token = Path(wanted["token_file"]).read_text().strip() if wanted["token_file"] else False
    commit, licence, remotes = _listed(wanted, token)
    _tell(commit=commit, licence=licence, files=[remote._asdict() for remote in remotes])
    if sys.stdin.readline().strip() != "go":
        return
    for remote in remotes:
        target = Path(wanted["folder"]) / remote.path
        if target.exists():
            continue
        part = target.with_name(f"{target.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        _fetch_file(wanted, token, commit, remote, part)
        _check(part, remote)
        part.rename(target)


def _listed(wanted: dict[str, Any], token: str | bool) -> tuple[str, str, list[Remote]]:
    from huggingface_hub import HfApi

    info = HfApi(endpoint=wanted["endpoint"], token=token).model_info(
        wanted["repository"],
        revision=wanted["revision"],
        files_metadata=True,
        timeout=_LISTING_SECONDS,
    )
    remotes = [
        Remote(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else "", each.blob_id or "")
        for each in info.siblings or ()
        if any(fnmatchcase(each.rfilename, pattern) for pattern in wanted["files"])
    ]
    card: Any = info.card_data or {}
    licence = str(card.get("license") or "")
    return info.sha or "", licence, sorted(remotes)


def _fetch_file(wanted: dict[str, Any], token: str | bool, commit: str, remote: Remote, part: Path) -> None:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    # what came of a piece when the line is cut is lost
    constants.DOWNLOAD_CHUNK_SIZE = _PIECE_BYTES
    endpoint = wanted["endpoint"]
    url = hf_hub_url(wanted["repository"], remote.path, revision=commit, endpoint=endpoint)
    told = get_hf_file_metadata(url, token=token, endpoint=endpoint)
    if told.commit_hash != commit:
        raise WrongHash(f"{remote.path} belongs to another commit than the hub had said")
    if told.size != remote.size_bytes or (remote.sha256 and told.etag != remote.sha256):
        raise WrongHash(f"the hub says one thing of {remote.path} in its list and another beside the file")
    headers = build_hf_headers(token=token if is_of_hub(told.location, endpoint) else False)
    # a compressed answer could not be gone on with
    headers["Accept-Encoding"] = "identity"
    with part.open("ab") as file:
        at = file.tell()
        if at > remote.size_bytes:
            file.truncate(0)
            at = 0
        http_get(
            told.location, file, resume_size=at, headers=headers, expected_size=remote.size_bytes,
            displayed_filename=part.name,
        )  # fmt: skip
        file.flush()
        os.fsync(file.fileno())


def is_of_hub(location: str, endpoint: str) -> bool:
    """Whether the token may go there: to the same server, and in the clear only where the hub itself is."""
    return urlsplit(location)[:2] == urlsplit(endpoint)[:2]


def _check(part: Path, remote: Remote) -> None:
    """Git's hash of a file is that of a head and the file (git-hash-object)."""
    digest = hashlib.sha256()
    if not remote.sha256:
        digest = hashlib.sha1(f"blob {remote.size_bytes}\0".encode(), usedforsecurity=False)
    told_at = time.monotonic()
    for chunk in _chunks(part):
        digest.update(chunk)
        if time.monotonic() - told_at >= _TELL_SECONDS:
            told_at = time.monotonic()
            _tell(checking=remote.path)
    if digest.hexdigest() != (remote.sha256 or remote.git_sha1):
        part.unlink()
        raise WrongHash(f"{remote.path} is not the file whose hash the hub gave")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _kind(error: Exception) -> str:
    """What the parent makes of it: the hub's no, a disk without room, a lie, or a way that is cut."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, WrongHash):
        return "wrong_hash"
    if isinstance(error, ValueError):
        return "too_large"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return "cut" if status >= 500 or status in (408, 429) else f"status {status}"
    if isinstance(error, OSError) and error.errno:
        return f"errno {error.errno}"
    return "cut"


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _tell(**news: object) -> None:
    # the parent may have gone; then nobody wants to know
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(news), flush=True)  # noqa: T201


def _end_when_nobody_listens() -> None:
    """Polls the pipe rather than reading it: the word to go comes over it, too."""
    import select

    poll = select.poll()
    poll.register(sys.stdin, select.POLLHUP)
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
        pass
    _leave(1)


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
