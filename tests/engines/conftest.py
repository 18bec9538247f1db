"""Engines that the tests of this folder share: the demo model, and a tiny random one that says anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.random_model import TINY, random_model
from tests.engines.serving import RunningEngine, demo_engine, engine_process

__all__ = ["demo_engine"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: under sampling every token is likely, so bytes, stops and grammars meet every case."""
    return random_model(tmp_path_factory.mktemp("models"), TINY)


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: Path) -> Iterator[RunningEngine]:
    with engine_process(tiny_model, "--slots", "4", "--context-tokens", "1024", "--waiting", "32") as engine:
        yield engine
