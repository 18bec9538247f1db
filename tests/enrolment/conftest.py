"""A real box for the tests of enrolment: uvicorn with the box's certificate, in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlite_utils import Database

from appliance.claim.certificate import ensure_certificate
from appliance.enrolment import WorkerFacts, create_invitation, make_enrolment_app
from appliance.enrolment.pinned import Address
from appliance.enrolment.redeeming import Redemption, redeem
from appliance.settings import Settings
from appliance.storage import open_cellule

FACTS = WorkerFacts(name="pc-lab-3", cores=4, os="Debian 13", mac_addresses=("02:00:5e:10:00:01",))


@dataclass(frozen=True)
class Box:
    settings: Settings
    db: Database
    pin: bytes

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.settings.port)

    def invite(self, label: str = "PC") -> str:
        return create_invitation(self.db, self.settings, label, created_by=None).code

    def join(self, code: str | None = None, key: X25519PrivateKey | None = None) -> Redemption:
        return redeem(code or self.invite(), key or X25519PrivateKey.generate(), FACTS, [self.address])

    def count(self, sql: str) -> int:
        return int(self.db.execute(f"SELECT COUNT(*) FROM {sql}").fetchone()[0])


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """The enrolment application on `settings.port`, with TLS if the settings say so."""
    certificate = ensure_certificate(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            make_enrolment_app(settings),
            ssl_certfile=certificate.cert_path if settings.tls else None,
            ssl_keyfile=certificate.key_path if settings.tls else None,
            lifespan="off",
            proxy_headers=False,
            log_level="warning",
        )
    )
    # connections queue at the listener until the server takes them: nothing to wait for
    with socket.create_server(("127.0.0.1", settings.port)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def box(settings: Settings) -> Iterator[Box]:
    settings = settings.model_copy(update={"tls": True})
    with serving(settings), open_cellule(settings.state_dir) as db:
        yield Box(settings, db, ensure_certificate(settings).pin)
