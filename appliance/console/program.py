"""The loop: wait for a key, a change or a second of a countdown; draw; send what differs.

Deeds run on a thread, so that the screen lives while the machine works. No exception of a source reaches the
loop; what breaks the loop itself ends the program, and systemd starts it anew.
"""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor

from appliance.console.effects import Deeds
from appliance.console.keyboard import REPAINT
from appliance.console.menu import HOME, TRIAL_SECONDS, Effect, Menu, Page, after, step, tick
from appliance.console.screen import draw
from appliance.console.terminal import Terminal
from appliance.console.watching import Watch
from appliance.host import Host
from appliance.settings import Settings


class Console:
    """The box's screen on one terminal."""

    def __init__(self, settings: Settings, host: Host, terminal: Terminal) -> None:
        self._terminal = terminal
        self._woken, self._wake = os.pipe()
        self._watch = Watch(settings, host, self._poke)
        self._deeds = Deeds(settings, host)
        self._worker = ThreadPoolExecutor(1)
        self._running: tuple[Effect, Menu, Future[str | None]] | None = None
        self._menu = HOME
        self._trial_ends = 0.0

    def run(self) -> None:
        """Until the terminal is gone. Raises TerminalGone."""
        self._watch.start()
        while True:
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
            self._show()
            future = self._worker.submit(self._deeds.perform, effect)
            self._running = effect, before, future
            future.add_done_callback(lambda _: self._poke())

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
        os.write(self._wake, b".")
