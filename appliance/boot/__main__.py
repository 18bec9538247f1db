"""python3 -m appliance.boot verdict | story

`verdict` judges this start (cellule-verdict.service): status 0 good, 1 not good, 65 the data is bad.
`story` prints, for the console, what the box has to say of its starts: the verdict if it is not good, and the
last release that was given up. It prints nothing when all is well.
"""

import argparse
import signal
import sqlite3
import sys
from contextlib import closing, suppress
from typing import NoReturn

from appliance.boot.given_up import given_up_releases
from appliance.boot.places import places, running_now
from appliance.boot.speaking import EXIT_GOOD, StoppedEarly, speak_verdict
from appliance.boot.word import read_word
from appliance.errors import Refusal
from appliance.settings import Settings, load_settings
from appliance.storage import open_cellule


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python3 -m appliance.boot")
    parser.add_argument("what", choices=("verdict", "story"))
    what, settings = parser.parse_args().what, load_settings()
    if what == "verdict":
        signal.signal(signal.SIGTERM, _stop)
        try:
            sys.exit(speak_verdict(settings, places(settings), running_now(settings)))
        except StoppedEarly:
            sys.exit(EXIT_GOOD)  # what was to be said had been said
    print(console_text(settings), end="")  # noqa: T201
    sys.exit(0)


def console_text(settings: Settings) -> str:
    """One paragraph a subject, each with a line end; "" when there is nothing to tell."""
    told = []
    word = read_word(places(settings).verdict)
    if word is not None and not word.is_good:
        told.append(f"This boot is not good. {word.sentence} {word.next_step}".strip())
    # what is wrong with storage is the verdict's to say, and it has
    with suppress(Refusal, OSError, sqlite3.Error):
        if (settings.state_dir / "cellule.db").exists():
            with closing(open_cellule(settings.state_dir)) as db:
                told += [release.reason for release in given_up_releases(db)[:1]]
    return "".join(f"{paragraph}\n" for paragraph in told)


def _stop(*_: object) -> NoReturn:
    raise StoppedEarly


if __name__ == "__main__":
    main()
