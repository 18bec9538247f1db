"""The core's side of a download: starts the fetching process, decides on what the hub lists, follows it.

Order: the hub lists files and licence → refused here or told to go → bytes come into the get's folder → each
has its hash. Cut off, refused or cancelled, the process ends at once; what came stays until the get ends. One
that neither speaks nor writes for a while is given up: a hub may take a call and never answer it.
"""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from typing import Any

from pydantic import ValidationError

from appliance.errors import NotTrusted, Refused, TryAgain
from appliance.models.bundle import BundleFile
from appliance.models.choice import ModelsChoice
from appliance.models.gets import HubOrder, Meter
from appliance.models.gguf_header import ModelFileUnusable
from appliance.models.hub_token import hub_token_path
from appliance.models.store import StoreFull, bytes_in
from appliance.settings import Settings

_LOOK_SECONDS = 0.3
_LAST_WORDS_SECONDS = 5.0
SILENT_SECONDS = 120.0
"""Longer than the process itself waits for an answer, and tries again."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class InternetNotAllowed(Refused):
    """An admin has not allowed models from the internet."""

    code = "internet_not_allowed"
    http_status = 403


class HubRefused(Refused):
    """The hub doesn't have the model, or doesn't give it to us."""

    code = "hub_refused"


class HubUnreachable(TryAgain):
    """The way to the hub is cut; what came is kept."""

    code = "hub_unreachable"
    http_status = 503


class HubLied(NotTrusted):
    """What came is not what the hub had described."""

    code = "hub_wrong_hash"
    http_status = 502


@dataclass(frozen=True)
class Listing:
    """What the hub says of the files that are wanted; `sha256` is "" for small ones."""

    licence: str
    sizes: Mapping[str, int]
    sha256: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        return sum(self.sizes.values())


def download(
    settings: Settings,
    choice: ModelsChoice,
    order: HubOrder,
    folder: Path,
    *,
    meter: Meter,
    judge: Callable[[Listing], None],
    keep_reserve: Callable[[], None],
) -> dict[str, str]:
    """Fetches into `folder`; the SHA-256 by path that the hub gave, for files that it gives one for.

    `judge` refuses by raising, before the first byte of a file, `keep_reserve` while they come. Raises
    InternetNotAllowed, HubRefused, HubUnreachable, HubLied, StoreFull, GetCancelled.
    """
    if not choice.internet_allowed:
        raise InternetNotAllowed(
            "Models from the internet are not allowed on this box.",
            next_step="Allow them on this page, or bring the model on a USB stick.",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = _wanted(settings, choice, order, folder)
    with _fetching(wanted) as fetching:
        listing = _listing(fetching.first_news(meter.check))
        (folder / ".commit").write_text(fetching.commit)
        judge(listing)
        fetching.go()
        while not fetching.has_ended(_LOOK_SECONDS):
            come = bytes_in(folder)
            if come != meter.done_bytes:
                fetching.heard_at = monotonic()
            meter.set(come)
            meter.check()
            fetching.refuse_silence()
            keep_reserve()
        fetching.raise_failure()
    meter.set(listing.size_bytes)
    return {path: sha256 for path, sha256 in listing.sha256.items() if sha256}


def _wanted(settings: Settings, choice: ModelsChoice, order: HubOrder, folder: Path) -> dict[str, Any]:
    """Begun anew, it goes on with the commit of the first time: another one's files would not fit."""
    commit = (folder / ".commit").read_text() if (folder / ".commit").exists() else ""
    return {
        "endpoint": choice.hub_url,
        "repository": order.repository,
        "revision": commit if _COMMIT.fullmatch(commit) else order.revision,
        "files": order.files,
        "folder": str(folder),
        "token_file": hub_token_path(settings),
    }


class _Fetching:
    """The process of `appliance.models.hub`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin and process.stdout
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._news = Queue[dict[str, Any]]()
        self._failure: dict[str, str] | None = None
        self.commit = ""
        self.heard_at = monotonic()
        """When it last said or wrote something, by `time.monotonic`."""
        # an answer longer than the pipe would stop the process
        self._hearing = Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def ask(self, wanted: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(wanted) + "\n")
            self._stdin.flush()

    def close(self) -> None:
        self.hear_out()
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()

    def first_news(self, go_on: Callable[[], None]) -> dict[str, Any]:
        """What it lists. `go_on`, asked all the while, ends the wait by raising; so does a failure."""
        while True:
            try:
                news = self._news.get(timeout=_LOOK_SECONDS)
                break
            except Empty:
                go_on()
                self.refuse_silence()
        if "failed" in news:
            raise _refusal(news["failed"], news["sentence"])
        self.commit = str(news["commit"])
        return news

    def go(self) -> None:
        with suppress(BrokenPipeError):
            self._stdin.write("go\n")
            self._stdin.flush()

    def refuse_silence(self) -> None:
        """Raises HubUnreachable."""
        if monotonic() - self.heard_at > SILENT_SECONDS:
            raise HubUnreachable("The hub takes calls and answers none.", retry_after_seconds=30)

    def has_ended(self, within_seconds: float) -> bool:
        try:
            self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def raise_failure(self) -> None:
        """Returns where there was none."""
        if self._process.returncode == 0:
            return
        self.hear_out()
        failure = self._failure or {"failed": "cut", "sentence": "the download's process ended"}
        raise _refusal(failure["failed"], failure["sentence"])

    def hear_out(self) -> None:
        """What the process said last may be heard after its end."""
        if self._hearing.is_alive():
            self._hearing.join(_LAST_WORDS_SECONDS)

    def _hear(self) -> None:
        try:
            for line in self._stdout:
                self.heard_at = monotonic()
                news = json.loads(line)
                if "failed" in news:
                    self._failure = news
                if "checking" not in news:
                    self._news.put(news)
        finally:
            self._news.put({"failed": "cut", "sentence": "it ended"})


@contextmanager
def _fetching(wanted: dict[str, Any]) -> Iterator[_Fetching]:
    argv = [sys.executable, "-m", "appliance.models.hub"]
    # no HF_ variable of whoever started the core speaks here
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(Path(wanted["folder"]) / ".hub")}
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    fetching = _Fetching(process)
    try:
        fetching.ask(wanted)
        yield fetching
    finally:
        process.kill()
        process.wait()
        fetching.close()


def _listing(news: Mapping[str, Any]) -> Listing:
    """Checked as what it is: a stranger's word. Raises HubRefused, HubLied."""
    sizes, hashes = dict[str, int](), dict[str, str]()
    for each in news["files"]:
        path, sha256 = str(each["path"]), str(each["sha256"])
        if (sha256 and not _SHA256.fullmatch(sha256)) or not (sha256 or _COMMIT.fullmatch(each["git_sha1"])):
            raise HubLied(f"The hub gives no hash for {path}.")
        try:
            BundleFile(path=path, size_bytes=each["size_bytes"], sha256=sha256 or "0" * 64)
        except ValidationError as error:
            raise HubLied(f"The hub names a file that no model has: {path[:100]!r}.") from error
        sizes[path], hashes[path] = int(each["size_bytes"]), sha256
    if not sizes:
        raise HubRefused("The hub has none of these files.", next_step="Check the repository and the files.")
    if not _COMMIT.fullmatch(str(news["commit"])):
        raise HubLied("The hub doesn't say of which commit the files are.")
    return Listing(str(news["licence"]), sizes, hashes)


def _refusal(kind: str, sentence: str) -> Refused | TryAgain | NotTrusted:
    if kind == "wrong_hash":
        return HubLied(
            f"The download was thrown away: {sentence}.", next_step="Try again, or another mirror."
        )
    if kind == f"errno {errno.ENOSPC}":
        return StoreFull("The disk is full.", next_step="Remove a model that nobody uses.")
    if kind in ("status 401", "status 403"):
        return HubRefused(
            "The hub doesn't give this model to us, or has none of that name.",
            next_step="Check its name; accept its licence at the hub and put that account's token here.",
        )
    if kind == "status 404":
        return HubRefused(
            "The hub has no such repository, commit or file.",
            next_step="Check its name; one that is not public needs a token.",
        )
    if kind == "too_large":
        return ModelFileUnusable("A file of the model is larger than the hub gives out at once.")
    if kind.startswith("status"):
        return HubRefused(f"The hub answered with {kind}.")
    return HubUnreachable(f"The hub can't be reached: {sentence}.", retry_after_seconds=30)
