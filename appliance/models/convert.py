"""python -m appliance.models.convert FOLDER OUT [--weights int8] [--state FILE]

Converts one model and tells how far it is, a line a step, and in FILE if one is named. SIGTERM and Ctrl-C
stop it and leave nothing. CELLULE_CONVERTER names the Python of the converter; ./build.sh convert sets it.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from appliance.errors import Refusal
from appliance.models.conversion_progress import SENTENCES, Progress, Step
from appliance.models.conversion_source import Weights
from appliance.models.conversion_state import write_state
from appliance.models.converting import Conversion, convert

CONVERTER_VARIABLE = "CELLULE_CONVERTER"


class Cancelled(Exception):
    """A signal said so."""


def main() -> int:
    given = _arguments()
    cancel = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: cancel.set())
    last: Progress | None = None

    def tell(progress: Progress) -> None:
        nonlocal last
        if last is None or progress.step is not last.step or sys.stdout.isatty():
            sys.stdout.write(f"{progress.percent:3} % {progress.sentence}\n")
            sys.stdout.flush()
        last = progress
        if given.state:
            write_state(given.state, progress)

    def go_on() -> None:
        if cancel.is_set():
            raise Cancelled

    job = Conversion(given.folder, given.out, given.weights, Path(os.environ.get(CONVERTER_VARIABLE, "")))
    try:
        source = convert(job, tell, go_on)
    except Cancelled:
        tell(Progress(Step.CANCELLED, last.percent if last else 0, SENTENCES[Step.CANCELLED]))
        return 130
    except Refusal as error:
        tell(Progress(Step.FAILED, last.percent if last else 0, str(error)))
        return 1
    sys.stdout.write(f"{given.out}: a model for {source.kind}, weights {given.weights}\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./build.sh convert", description="Convert a model to OpenVINO.")
    parser.add_argument("folder", type=Path, help="with config.json, *.safetensors and the tokenizer")
    parser.add_argument("out", type=Path, help="the new folder")
    parser.add_argument(
        "--weights",
        type=Weights,
        default=Weights.INT8,
        choices=list(Weights),
        help="int4-cw or, for models below a billion weights, int4-gq: those that NPUs take",
    )
    parser.add_argument("--state", type=Path, help="a JSON file that tells how far it is")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
