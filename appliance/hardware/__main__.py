"""python3 -m appliance.hardware [--record] [FILE]

Prints what this machine is, what was chosen for it and why not the rest. FILE is a record of another machine
(JSON) to be judged instead; --record prints this machine's record. Status 1 when nothing here can compute.
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from appliance.hardware import MachineFacts, gather, profile_folders, read_profiles, recognise, told
from appliance.settings import load_settings


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python3 -m appliance.hardware")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a record of another machine")
    parser.add_argument("--record", action="store_true", help="print this machine's record")
    given = parser.parse_args()
    facts = _facts(given.file)
    if given.record:
        print(facts.model_dump_json(indent=1))  # noqa: T201
        sys.exit(0)
    profiles, unusable = read_profiles(profile_folders(load_settings()))
    for trouble in unusable:
        print(trouble, file=sys.stderr)  # noqa: T201
    recognition = recognise(facts, profiles)
    print(told(facts, recognition), end="")  # noqa: T201
    sys.exit(0 if recognition.choice else 1)


def _facts(file: Path | None) -> MachineFacts:
    if file is None:
        return gather()
    try:
        return MachineFacts.model_validate_json(file.read_text())
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        sys.exit(f"{file} is no record of a machine: {reason}.")


if __name__ == "__main__":
    main()
