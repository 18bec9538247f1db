"""The models that this worker should have, brought here one after the other, and given on to others.

A thread of its own fetches; the agent's loop tells it what is wanted (`obey`) and asks how far it is
(`progress`, `has_news`). A model is handed to an engine only when all its files had their hash, and a model
that runs is never removed for another. What does not work is told as a sentence and tried again later.
"""

import errno
import logging
import threading
from collections.abc import Collection, Sequence
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path
from time import monotonic

from appliance.enrolment.contract import DesiredState
from appliance.enrolment.pinned import Address
from appliance.errors import Refusal, TryAgain
from appliance.handout.contract import MOST_MODELS, HandoutOrders, Link, ModelProgress
from appliance.handout.rate import lower_cap
from appliance.models.bundle import Bundle, BundleFile
from appliance.worker.fetching import FileFetch, Tally
from appliance.worker.model_room import make_room
from appliance.worker.model_store import ModelStore
from appliance.worker.piece_sources import BoxSource, Pace, PieceSource, WorkerSource
from appliance.worker.seed_server import SeedOrders
from appliance.worker.seeding import Seeding

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
RETRY_FULL_DISK_SECONDS = LONGEST_RETRY_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoRoom(TryAgain):
    """The model does not fit on this machine's disk."""

    code = "no_room"


class Handout:
    """`box` is the box's front inside the tunnel, `pin` that of its key; `address` is our tunnel address."""

    def __init__(self, store: ModelStore, box: Address, pin: bytes, address: IPv4Address) -> None:
        self._store = store
        self._box = BoxSource(box, pin)
        self._seeding = Seeding(store.root, address)
        self._stopping = threading.Event()
        self._pace = Pace(self._stopping.wait)
        self._orders = HandoutOrders()
        self._wanted: dict[str, Bundle] = {}
        self._running: frozenset[str] = frozenset()
        self._workers: tuple[WorkerSource, ...] = ()
        self._tallies: dict[str, Tally] = {}
        self._avoided: set[str] = set()
        self._here_bytes: dict[str, int] = {}
        self._troubles: dict[str, tuple[str, float]] = {}
        self._news = threading.Event()
        store.forget_maps()
        self._thread = threading.Thread(target=self._run, name="handout", daemon=True)
        self._thread.start()

    def obey(self, desired: DesiredState, in_use: Collection[Path], *, is_busy: bool) -> None:
        """What is wanted from now on; `in_use` are the files that engines run on."""
        orders = desired.handout
        cap = orders.busy_bytes_per_second if is_busy else 0
        self._pace.set_rate(lower_cap(orders.receive_bytes_per_second, cap))
        self._workers = self._sources_of([link for link in orders.links if link.gives])
        self._running = frozenset(filter(None, map(self._store.digest_of, in_use)))
        self._orders = orders
        self._wanted = {bundle.digest: bundle for bundle in desired.bundles}
        for digest in (*self._wanted, *self._running):
            self._store.touch(digest)
        self._seeding.obey(self._seed_orders(lower_cap(orders.send_bytes_per_second, cap)))

    def find(self, bundle: Bundle) -> Path | None:
        """What an engine opens; None before all of it is here."""
        return self._store.find(bundle)

    def has_news(self) -> bool:
        """Whether a model has come, or trouble has, since the last call."""
        is_new = self._news.is_set()
        self._news.clear()
        return is_new

    def progress(self) -> tuple[ModelProgress, ...]:
        """Of the wanted models, then of the others that are here."""
        complete = self._store.complete()
        models = self._wanted | complete
        return tuple(self._progress_of(models[digest], digest in complete) for digest in models)[:MOST_MODELS]

    def avoided(self) -> tuple[IPv4Address, ...]:
        """Workers that gave a wrong piece."""
        return tuple(sorted(map(IPv4Address, tuple(self._avoided))))

    def stop(self) -> None:
        """Leaves the pieces that have come for the next start."""
        self._stopping.set()
        self._thread.join()
        self._seeding.stop()

    def _sources_of(self, links: Sequence[Link]) -> tuple[WorkerSource, ...]:
        # one that stays keeps its connection and what we know of it
        known = {source.name: source for source in self._workers}
        sources = [known.get(str(link.tunnel_address)) or WorkerSource(link) for link in links]
        for source, link in zip(sources, links, strict=True):
            source.link = link
        return tuple(sources)

    def _progress_of(self, bundle: Bundle, is_complete: bool) -> ModelProgress:
        digest = bundle.digest
        tally = self._tallies.get(digest, Tally())
        trouble, _at = self._troubles.get(digest, ("", 0.0))
        if not self._orders.may_fetch and not is_complete:
            trouble = self._orders.reason
        return ModelProgress(
            digest=digest,
            have_bytes=bundle.size_bytes if is_complete else self._here_bytes.get(digest, 0),
            total_bytes=bundle.size_bytes,
            is_complete=is_complete,
            from_box_bytes=tally.from_box_bytes,
            from_workers_bytes=tally.from_workers_bytes,
            trouble="" if is_complete else trouble[:200],
        )

    def _seed_orders(self, bytes_per_second: int) -> SeedOrders:
        files: dict[IPv4Address, dict[str, int]] = {}
        for link in self._orders.links:
            manifests = filter(None, map(self._store.manifest, link.takes))
            mine = {file.sha256: file.size_bytes for bundle in manifests for file in bundle.files}
            if mine:
                files[link.tunnel_address] = mine
        return SeedOrders(bytes_per_second=bytes_per_second, files=files)

    def _run(self) -> None:
        while not self._stopping.is_set():
            bundle = self._next()
            if bundle is None:
                self._stopping.wait(_LOOK_SECONDS)
                continue
            try:
                with closing(self._box):
                    self._fetch(bundle)
            except Refusal as error:
                self._fail(bundle, str(error), getattr(error, "retry_after_seconds", RETRY_SECONDS))
            except OSError as error:
                self._fail_on_disk(bundle, error)
            except Exception:
                log.exception("model %s can't be fetched", bundle.digest[:12])
                self._fail(bundle, "The worker failed; its log says why.", RETRY_FULL_DISK_SECONDS)

    def _next(self) -> Bundle | None:
        """The most urgent model that is not here and may be fetched now."""
        if not self._orders.may_fetch:
            return None
        for digest, bundle in self._wanted.items():
            _trouble, again_at = self._troubles.get(digest, ("", 0.0))
            if self._store.find(bundle) is None and monotonic() >= again_at:
                return bundle
        return None

    def _fetch(self, bundle: Bundle) -> None:
        self._make_room(bundle)
        self._store.note(bundle)
        self._count(bundle, 0)
        for file in self._store.missing(bundle):
            if not self._fetch_file(bundle, file):
                return
            self._count(bundle, 0)
        self._store.assemble(bundle)
        self._troubles.pop(bundle.digest, None)
        self._news.set()
        log.info("model %s has come", bundle.digest[:12])

    def _fetch_file(self, bundle: Bundle, file: BundleFile) -> bool:
        """Whether it is here now; False when it is not wanted any more. Raises Refusal, OSError."""
        digest = bundle.digest
        pieces = self._store.piece_list(file)
        if pieces is None:
            pieces = self._box.piece_list(file)
            self._store.keep_piece_list(pieces)
        part = self._store.open_part(pieces)
        tally = self._tallies.setdefault(digest, Tally(avoided=self._avoided))

        def is_wanted() -> bool:
            self._count(bundle, part.have_bytes())
            return self._orders.may_fetch and digest in self._wanted

        fetch = FileFetch(
            part,
            digest,
            number_and_of=lambda: self._part_of(digest),
            sources=lambda: self._sources(digest),
            pace=self._pace,
            tally=tally,
        )
        try:
            is_here = fetch.run(is_wanted, self._stopping)
            if is_here:
                self._store.accept(part)
        finally:
            part.close()
        return is_here

    def _make_room(self, bundle: Bundle) -> None:
        """Raises NoRoom before anything is written."""
        orders, kept = self._orders, self._running | frozenset(self._wanted)
        wanted_files = frozenset(file.sha256 for each in self._wanted.values() for file in each.files)
        self._store.drop_unwanted(except_for=wanted_files)
        room = make_room(
            self._store.needed_bytes(bundle),
            free_bytes=self._store.free_bytes(),
            keep_free_bytes=orders.keep_free_bytes,
            stored_bytes=self._store.stored_bytes(),
            quota_bytes=orders.quota_bytes,
            unused=self._store.unused(kept),
        )
        if room.trouble:
            raise NoRoom(room.trouble, retry_after_seconds=RETRY_FULL_DISK_SECONDS)
        for digest in room.remove:
            log.info("model %s goes to make room", digest[:12])
            self._store.remove(digest, except_for=wanted_files)

    def _part_of(self, digest: str) -> tuple[int, int]:
        found = (part for part in self._orders.parts if part.digest == digest)
        return next(((part.number, part.of) for part in found if part.number < part.of), (0, 1))

    def _sources(self, digest: str) -> tuple[PieceSource, ...]:
        workers = tuple(
            source
            for source in self._workers
            if digest in source.link.gives and source.name not in self._avoided
        )
        return (self._box, *workers)

    def _count(self, bundle: Bundle, of_this_file: int) -> None:
        missing = sum(file.size_bytes for file in self._store.missing(bundle))
        whole = sum({file.sha256: file.size_bytes for file in bundle.files}.values())
        self._here_bytes[bundle.digest] = whole - missing + of_this_file

    def _fail_on_disk(self, bundle: Bundle, error: OSError) -> None:
        if error.errno not in _OUT_OF_ROOM:
            self._fail(bundle, f"The disk of this machine failed: {error.strerror}.", RETRY_FULL_DISK_SECONDS)
            return
        # what has come goes at once: a full disk hurts the person at this machine
        for file in self._store.missing(bundle):
            self._store.drop_part(file.sha256)
        self._here_bytes.pop(bundle.digest, None)
        self._fail(bundle, "The disk of this machine became full on the way.", RETRY_FULL_DISK_SECONDS)

    def _fail(self, bundle: Bundle, sentence: str, retry_after_seconds: float) -> None:
        if self._stopping.is_set():
            return
        log.warning("model %s has not come: %s", bundle.digest[:12], sentence)
        self._troubles[bundle.digest] = (
            sentence,
            monotonic() + min(retry_after_seconds, LONGEST_RETRY_SECONDS),
        )
        self._news.set()
