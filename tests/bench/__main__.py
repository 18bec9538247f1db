"""`python -m tests.bench [NAME]`: one benchmark, or all of them; exits with 1 when one misses its target."""

import argparse
import importlib
import sys

BENCHES = {
    "embeddings": "tests.bench.embeddings",
    "engine": "tests.bench.engine",
    "gateway": "tests.bench.gateway",
    "handout": "tests.bench.handout",
    "image": "tests.bench.image",
    "join": "tests.bench.join",
    "sharding": "tests.bench.sharding",
    "openvino": "tests.bench.openvino",
    "simulation": "tests.bench.simulation",
}
"""Name → module whose `main()` prints its figures and returns whether its targets were met."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./build.sh bench")
    parser.add_argument("name", nargs="?", choices=BENCHES, help="all of them without it")
    given = parser.parse_args()
    names = [given.name] if given.name else list(BENCHES)
    missed = [name for name in names if not importlib.import_module(BENCHES[name]).main()]
    if missed:
        sys.exit(f"missed its target: {', '.join(missed)}")


if __name__ == "__main__":
    main()
