"""What every test may ask for: settings of its own, free ports, and a loud word when root is missing."""

import os
import random
import socket
from pathlib import Path

import pytest

from appliance.settings import Settings

DEMO_MODEL = Path(__file__).parents[1] / "appliance" / "models" / "demo" / "cellule-demo.gguf"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips root tests without root, except in CI, where they must run and so fail instead."""
    if os.geteuid() == 0 or os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="NOT TESTED: needs root; run the tests as root"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a box of its own, on free ports, with the simulated host."""
    for folder in ("run", "secrets"):
        (tmp_path / folder).mkdir(mode=0o700)
    return Settings(
        state_dir=tmp_path, port=free_port(), metrics_port=free_port(), host_simulated=True, development=True
    )


def free_port() -> int:
    """A TCP port of loopback that is free now, and so is the next one up.

    From below the range that the system gives to outgoing connections, which come and go.
    """
    while True:
        port = random.randrange(20_000, 32_000, 2)
        try:
            for each in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port
