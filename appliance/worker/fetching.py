"""One file fetched from all its sources at once, a thread a source, until every piece is here.

A piece counts once it has its hash. A worker that gave a wrong one is not asked again and is named to the
box; a source that is silent is asked again later. The disk's own errors end the fetch.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from appliance.errors import NotTrusted, Refusal, TryAgain
from appliance.worker.choosing import COMING, MISSING, from_box, from_worker
from appliance.worker.part_file import PartFile
from appliance.worker.piece_sources import BoxSource, Pace, PieceSource, WorkerSource

log = logging.getLogger(__name__)

BOX_PATIENCE_SECONDS = 1.0
"""So long the box is not asked for what workers have or are just getting; then for one piece, and so on."""
LOOK_AGAIN_SECONDS = 0.2
LONGEST_BACK_OFF_SECONDS = 10.0


class WrongPieceFromBox(NotTrusted):
    """The box's own piece does not fit the box's own list."""

    code = "wrong_piece_from_box"


@dataclass
class Tally:
    """What came from whom, in bytes of right pieces; and who gave a wrong one."""

    from_box_bytes: int = 0
    from_workers_bytes: int = 0
    avoided: set[str] = field(default_factory=set)


class FileFetch:
    """Of the model `digest`. `sources()` are those of now, `number_and_of()` is our part of the pieces."""

    def __init__(
        self,
        part: PartFile,
        digest: str,
        *,
        number_and_of: Callable[[], tuple[int, int]],
        sources: Callable[[], Sequence[PieceSource]],
        pace: Pace,
        tally: Tally,
    ) -> None:
        self._part = part
        self._digest = digest
        self._number_and_of = number_and_of
        self._sources = sources
        self._pace = pace
        self._tally = tally
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._error: Exception | None = None

    def run(self, is_wanted: Callable[[], bool], stopping: threading.Event) -> bool:
        """Whether every piece is here; False when the fetch was not wanted any more.

        Raises OSError of the disk, WrongPieceFromBox, and what the box refuses with.
        """
        threads: dict[PieceSource, threading.Thread] = {}
        try:
            while not self._part.is_complete() and self._error is None:
                if stopping.is_set() or not is_wanted():
                    return False
                for source in self._sources():
                    # the thread of one that was no source for a while has ended
                    is_asked = source in threads and threads[source].is_alive()
                    if not is_asked and source.name not in self._tally.avoided:
                        threads[source] = self._start(source, stopping)
                self._ended.wait(LOOK_AGAIN_SECONDS)
        finally:
            self._stopping.set()
            for source in threads:
                source.interrupt()
            for source, thread in threads.items():
                thread.join()
                source.close()
        if self._error is not None:
            raise self._error
        return True

    def _start(self, source: PieceSource, stopping: threading.Event) -> threading.Thread:
        name = f"fetch {source.name}"
        thread = threading.Thread(target=self._draw, args=(source, stopping), name=name, daemon=True)
        thread.start()
        return thread

    def _draw(self, source: PieceSource, stopping: threading.Event) -> None:
        """Asks `source` for one piece after another, as long as it is one of the sources."""
        buffer = memoryview(bytearray(self._part.pieces.piece_bytes))
        waits_since = monotonic()
        while not (self._stopping.is_set() or stopping.is_set()) and source in self._sources():
            index = self._claim(source, monotonic() - waits_since < BOX_PATIENCE_SECONDS)
            if index is None:
                self._stopping.wait(LOOK_AGAIN_SECONDS)
                continue
            try:
                if not self._fetch(source, index, buffer[: self._part.pieces.length(index)]):
                    return
            except TryAgain as error:
                self._back_off(source, error)
            except (OSError, Refusal) as error:
                self._error = error
                self._ended.set()
                return
            finally:
                self._release(index)
            waits_since = monotonic()

    def _claim(self, source: PieceSource, is_patient: bool) -> int | None:
        if isinstance(source, WorkerSource) and not source.refresh(self._part.pieces):
            self._stopping.wait(_back_off_seconds(source.failures))
            return None
        with self._lock:
            index = self._choose(source, is_patient)
            if index is not None:
                self._part.states[index] = COMING
            return index

    def _choose(self, source: PieceSource, is_patient: bool) -> int | None:
        workers = [each for each in self._sources() if isinstance(each, WorkerSource)]
        workers = [each for each in workers if each.name not in self._tally.avoided]
        offered = {each: each.map(self._digest, self._part.pieces) for each in workers}
        own = bytes(self._part.states)
        number, of = self._number_and_of()
        if isinstance(source, WorkerSource):
            start = len(own) * number // of
            return from_worker(own, offered.get(source, bytes(len(own))), list(offered.values()), start)
        return from_box(own, list(offered.values()), (number, of), is_patient=is_patient)

    def _fetch(self, source: PieceSource, index: int, into: memoryview) -> bool:
        """Whether the source may be asked again. Raises SourceFailed, OSError, WrongPieceFromBox."""
        source.read_piece(self._part.pieces.sha256, index, into, self._pace)
        if not self._part.pieces.is_piece(index, into):
            if isinstance(source, BoxSource):
                raise WrongPieceFromBox("The box gave a piece that is not in its own list.")
            log.warning("%s gave a wrong piece and is not asked again", source.name)
            self._tally.avoided.add(source.name)
            return False
        with self._lock:
            self._part.write(index, into)
            if self._part.is_complete():
                self._ended.set()
            if isinstance(source, BoxSource):
                self._tally.from_box_bytes += len(into)
            else:
                self._tally.from_workers_bytes += len(into)
        return True

    def _release(self, index: int) -> None:
        with self._lock:
            if self._part.states[index] == COMING:
                self._part.states[index] = MISSING

    def _back_off(self, source: PieceSource, error: TryAgain) -> None:
        if not self._stopping.is_set():
            log.info("%s", error)
        self._stopping.wait(max(error.retry_after_seconds, _back_off_seconds(source.failures)))


def _back_off_seconds(failures: int) -> float:
    return min(0.25 * 2.0 ** min(failures, 10), LONGEST_BACK_OFF_SECONDS)
