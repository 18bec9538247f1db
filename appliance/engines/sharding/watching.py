"""A lost part ends the engine's process: within seconds, with a sentence and a status of its own.

llama.cpp can't go on without a part, and aborts at the next word to it. Before it does, or when a part was
silent for LOST_AFTER_SECONDS, the process says which part is lost and ends; its open connections break, so
that the pool answers elsewhere or tells the client. Whoever started it then plans anew.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import NoReturn

from appliance.engines.endings import PART_LOST_STATUS
from appliance.engines.sharding.parts import PartAddress
from appliance.engines.sharding.rpc import on_abort
from appliance.engines.sharding.status import PartSilent, PartStatus, ask_part

_log = logging.getLogger(__name__)
ASK_EVERY_SECONDS = 1.0
ASK_TIMEOUT_SECONDS = 2.0
LOST_AFTER_SECONDS = 10.0
"""A PC that is very busy answers late; filling its part anew takes longer than waiting."""


def watch_parts(statuses: Mapping[PartAddress, PartStatus]) -> None:
    """Watches from now on, in threads of its own; `statuses` are what the parts said before the loading."""
    on_abort(lambda message: _end(_named(message, statuses)))
    for address, status in statuses.items():
        threading.Thread(
            target=_watch, args=(address, status.instance), name=f"watch {address}", daemon=True
        ).start()


def _watch(address: PartAddress, instance: str) -> None:
    heard_at = time.monotonic()
    while True:
        time.sleep(ASK_EVERY_SECONDS)
        try:
            status = ask_part(address, ASK_TIMEOUT_SECONDS)
        except PartSilent as silent:
            if isinstance(silent.__cause__, ConnectionRefusedError):
                _end(f"The part on {address} is lost: nobody listens there any more.")
            if time.monotonic() - heard_at > LOST_AFTER_SECONDS:
                _end(f"The part on {address} is lost: it was silent for {LOST_AFTER_SECONDS:g} s.")
            continue
        if status.instance != instance:
            _end(f"The part on {address} is lost: it was started anew and has forgotten its layers.")
        heard_at = time.monotonic()


def _named(message: str, statuses: Mapping[PartAddress, PartStatus]) -> str:
    """llama.cpp's last words, with the part that they are about where it can be found out."""
    for address, status in statuses.items():
        try:
            now = ask_part(address, ASK_TIMEOUT_SECONDS)
        except PartSilent:
            return f"The part on {address} is lost: its connection broke."
        if now.instance != status.instance:
            return f"The part on {address} is lost: it was started anew and has forgotten its layers."
    return f"llama.cpp gave up on a split model: {message.rpartition('/')[2]}"


def _end(sentence: str) -> NoReturn:
    _log.critical("%s", sentence)
    logging.shutdown()
    os._exit(PART_LOST_STATUS)
