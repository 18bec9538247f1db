"""Where the verifier reads a channel's files: over HTTP, or in a folder. Nothing that is read here is
believed.

Over HTTP a whole look at the channel has a deadline, so a server that sends a byte now and then holds up
nothing for long. How much may be read the verifier says, file by file.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.exceptions import TimeoutError as SilenceError

SILENCE_SECONDS = 15.0
DEADLINE_SECONDS = 60.0
_CHUNK_BYTES = 64 * 1024


class HttpFetcher(FetcherInterface):
    """Gets files; all of them together within `deadline_seconds`."""

    def __init__(
        self, *, silence_seconds: float = SILENCE_SECONDS, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        retries = urllib3.Retry(total=None, connect=1, read=0, other=0)
        self._connections = urllib3.PoolManager(
            retries=retries, timeout=urllib3.Timeout(connect=silence_seconds, read=silence_seconds)
        )
        self._ends_at = time.monotonic() + deadline_seconds

    def _fetch(self, url: str) -> Iterator[bytes]:
        self._check_deadline()
        try:
            # a redirect could lead to a host that the box may not reach
            answer = self._connections.request("GET", url, preload_content=False, redirect=False)
        except MaxRetryError as error:
            raise _trouble(error.reason or error) from error
        if answer.status != 200:
            answer.close()
            raise DownloadHTTPError(f"the server answered {answer.status}", answer.status)
        return self._chunks(answer)

    def _chunks(self, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            # read1 returns what has come: `stream` would wait for a whole chunk, however slowly it drips
            while chunk := answer.read1(_CHUNK_BYTES, decode_content=False):
                yield chunk
                self._check_deadline()
        except HTTPError as error:
            raise _trouble(error) from error
        finally:
            answer.close()

    def _check_deadline(self) -> None:
        if time.monotonic() > self._ends_at:
            raise SlowRetrievalError("the channel took too long to answer")


def _trouble(error: Exception) -> DownloadError:
    if isinstance(error, SilenceError):
        return SlowRetrievalError("the channel went silent")
    return DownloadError(type(error).__name__)


class FolderFetcher(FetcherInterface):
    """Reads file:// addresses under `folder`, and nothing that a link there leads to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        if not path.is_relative_to(self._folder) or ".." in path.parts:
            raise DownloadError(f"{path} is not in the folder")
        if path.is_symlink() or path.parent.is_symlink():
            raise DownloadError(f"{path} is a link")
        if not self._folder.is_dir():
            # a stick that was pulled: its files are not missing, they are away
            raise DownloadError(f"{self._folder} is gone")
        if not path.exists():
            raise DownloadHTTPError(f"{path} does not exist", 404)
        return self._chunks(path)

    def _chunks(self, path: Path) -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise DownloadError(f"{path} can't be read: {error.strerror}") from error
