"""The loop: wait for a key, a change or a second of a countdown; draw; send what differs.

Deeds run on a thread, so that the screen lives while the machine works. No exception of a source reaches the
loop; what breaks the loop itself ends the program, and systemd starts it anew. A terminal that can't be
opened or hangs up is tried again, for one that is gone must not take the others along.
"""

import logging
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from appliance.console.effects import Deeds
from appliance.console.keyboard import REPAINT
from appliance.console.menu import HOME, TRIAL_SECONDS, Effect, Menu, Page, after, step, tick
from appliance.console.screen import draw
from appliance.console.terminal import Terminal, TerminalGone
from appliance.console.watching import Watch

log = logging.getLogger("cellule.console")
AGAIN_SECONDS = 2.0


class Console:
    """The box's screen on the terminal `path`; `kind` is its TERM."""

    def __init__(self, watch: Watch, deeds: Deeds, path: Path, kind: str) -> None:
        self._path, self._kind = path, kind
        self._woken, self._wake = os.pipe()
        # of a terminal that is gone nobody reads it, and who tells of news must not wait
        os.set_blocking(self._wake, False)
        self._watch, self._deeds = watch, deeds
        watch.tell(self._poke)
        self._worker = ThreadPoolExecutor(1)
        self._running: tuple[Effect, Menu, Future[str | None]] | None = None
        self._menu = HOME
        self._trial_ends = 0.0
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        said = ""
        while not self._stopped.is_set():
            try:
                with Terminal(self._path, self._kind) as self._terminal:
                    self._serve()
            except TerminalGone as gone:
                if str(gone) != said:
                    said = str(gone)
                    log.warning("%s: %s", self._path, said)
                if self._running is None and self._menu.page is not Page.TRIAL:
                    # who comes next must not find what another had half typed
                    self._menu = HOME
                self._stopped.wait(AGAIN_SECONDS)
        self._worker.shutdown(wait=False)

    def stop(self) -> None:
        """From a signal's handler or another thread: `run` returns, with the terminal as it was."""
        self._stopped.set()
        self._poke()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            self._show()
            keys, woken = self._terminal.wait(self._woken, self._until_next_second())
            if woken:
                os.read(self._woken, 4096)
            self._finish()
            if keys:
                # somebody is here: what they see should be of now
                self._watch.hurry()
            for key in keys:
                if key == REPAINT:
                    self._terminal.forget()
                    continue
                self._take(*step(self._menu, key, self._watch.facts))
            if self._menu.page is Page.TRIAL:
                self._take(*tick(self._menu, round(self._trial_ends - time.monotonic())))

    def _show(self) -> None:
        facts = self._watch.facts
        self._terminal.show(draw(facts, self._menu, self._terminal.size(), facts.language))

    def _take(self, menu: Menu, effect: Effect | None) -> None:
        if menu.page is not self._menu.page:
            # the kernel may have written over the screen; a page that is turned is painted anew
            self._terminal.forget()
        before, self._menu = self._menu, menu
        if effect is not None:
            future = self._worker.submit(self._deeds.perform, effect)
            self._running = effect, before, future
            future.add_done_callback(lambda _: self._poke())
            self._show()

    def _finish(self) -> None:
        if self._running is None or not self._running[2].done():
            return
        effect, before, future = self._running
        self._running = None
        self._watch.hurry()
        self._take(after(effect, before, future.result()), None)
        if self._menu.page is Page.TRIAL:
            self._trial_ends = time.monotonic() + TRIAL_SECONDS

    def _until_next_second(self) -> float | None:
        return 1.0 if self._menu.page is Page.TRIAL else None

    def _poke(self) -> None:
        with suppress(BlockingIOError):  # it is full of news already
            os.write(self._wake, b".")
