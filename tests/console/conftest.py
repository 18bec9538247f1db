"""A box for the console: storage, certificate and claim code, and a broker over a simulated machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.claim import ensure_certificate, ensure_claim_code
from appliance.host.broker import Broker
from appliance.host.contract import Host
from appliance.host.simulated import SimulatedHost
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule


@pytest.fixture
def box(tmp_path: Path) -> Settings:
    """An unclaimed box that nothing of the product runs on yet."""
    settings = Settings(state_dir=tmp_path, tls=True, port=8443, host_simulated=True)
    open_cellule(tmp_path).close()
    open_activity(tmp_path).close()
    ensure_claim_code(settings)
    ensure_certificate(settings)
    return settings


@pytest.fixture
def machine(box: Settings) -> SimulatedHost:
    """What the broker acts on."""
    return SimulatedHost(box.secrets_dir / "wireguard.key", box.host_dir)


@contextmanager
def brokering(settings: Settings, host: Host) -> Iterator[None]:
    """A broker on the real socket, in a thread."""
    with Broker(settings.broker_socket, host, settings.wireguard_interface) as broker:
        thread = threading.Thread(target=broker.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            broker.shutdown()
            thread.join()
    settings.broker_socket.unlink(missing_ok=True)
