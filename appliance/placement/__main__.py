"""python3 -m appliance.placement simulate --inventory machines.csv [--employees N --requests-per-day N …]

Prints what these machines could do for so many people: which model, on which machines, how long people wait.
Without --models every known model is tried, the best first; --needed also says how many machines of each kind
alone would be enough. --json prints the same as JSON. Status 1 when nothing meets what is wanted.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NoReturn

from appliance.errors import Refusal
from appliance.hardware import profile_folders, read_profiles
from appliance.placement.arrivals import Workload
from appliance.placement.contract import READABLE_TOKENS_PER_SECOND, Wishes
from appliance.placement.inventory import inventory_text, read_inventory
from appliance.placement.models_for_sizing import sizing_models
from appliance.placement.report import as_json, told
from appliance.placement.sizing import Needed, Target, needed, size
from appliance.settings import load_settings

MOST_REQUESTS_A_DAY = 1_000_000
"""More take an hour, and tell nothing that a tenth of the people on a tenth of the machines does not."""


def main() -> NoReturn:
    given = _arguments()
    try:
        status = _simulate(given)
    except Refusal as refusal:
        sys.exit(str(refusal))
    except OSError as error:
        sys.exit(f"{given.inventory} can't be read: {error}.")
    sys.exit(status)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m appliance.placement")
    commands = parser.add_subparsers(dest="command", required=True)
    simulate = commands.add_parser("simulate", help="what machines could do for so many people")
    simulate.add_argument("--inventory", required=True, type=Path, metavar="FILE.csv")
    simulate.add_argument("--models", default="", metavar="NAME,NAME", help="only these, the best first")
    simulate.add_argument("--employees", type=_positive(int), default=100)
    simulate.add_argument("--requests-per-day", type=_positive(float), default=20.0, help="of each of them")
    simulate.add_argument("--prompt-tokens", type=_positive(float), default=600.0, help="on average")
    simulate.add_argument("--answer-tokens", type=_positive(float), default=250.0, help="on average")
    simulate.add_argument(
        "--first-token-seconds", type=_positive(float), default=5.0, help="for 95 of 100; what is wanted"
    )
    simulate.add_argument(
        "--tokens-per-second",
        type=_positive(float),
        default=READABLE_TOKENS_PER_SECOND,
        help="a reader needs",
    )
    simulate.add_argument("--needed", action="store_true", help="also: how many of each kind alone")
    simulate.add_argument("--seed", type=int, default=0, help="another one is another day")
    simulate.add_argument("--json", action="store_true")
    return parser.parse_args()


def _positive(kind: type[int] | type[float]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < 1e7:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f'"{text}" is not {what} of more than 0 and less than 10000000')
        return value

    return read


def _simulate(given: argparse.Namespace) -> int:
    if given.employees * given.requests_per_day > MOST_REQUESTS_A_DAY:
        sys.exit(
            "More than a million requests a day are not replayed. Ask for a part of the people and machines."
        )
    profiles, _ = read_profiles(profile_folders(load_settings()))
    kinds = read_inventory(inventory_text(given.inventory.read_bytes()), profiles)
    models = sizing_models(name.strip() for name in given.models.split(",") if name.strip())
    workload = Workload(given.employees, given.requests_per_day, (), given.prompt_tokens, given.answer_tokens)
    target, wishes = (
        Target(given.first_token_seconds),
        Wishes(least_tokens_per_second=given.tokens_per_second),
    )
    sized = size(kinds, models, workload, target, wishes=wishes, seed=given.seed)
    needs: tuple[Needed, ...] = ()
    if given.needed and sized.simulated:
        taken = {name for name, _ in sized.simulated.workload.models}
        model = next(each for each in models if each.name in taken)
        needs = needed(kinds, model, workload, target, wishes=wishes, seed=given.seed)
    if given.json:
        print(json.dumps(as_json(kinds, sized, needs), indent=1))  # noqa: T201
    else:
        print(told(kinds, sized, target, needs), end="")  # noqa: T201
    return 0 if sized.meets else 1


if __name__ == "__main__":
    main()
