"""What must be true before the first process starts: our state directory, free ports, existing keys.

Everything that can be refused is refused here, before anything is changed.
"""

import fcntl
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance import people
from appliance.claim.preparing import prepare_box
from appliance.enrolment.lan import address_in_tunnel_network
from appliance.errors import Refused
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.private_file import replace
from appliance.settings import TUNNEL_NETWORK, Settings
from appliance.storage import open_cellule

LONGEST_SOCKET_PATH_BYTES = 107


class PortTaken(Refused):
    """Another program listens where the box should."""

    code = "port_taken"


class NetworksOverlap(Refused):
    """The office uses the addresses of the tunnel: neither could tell whose a packet is."""

    code = "networks_overlap"


class StateUnusable(Refused):
    """The state directory can't be written, or another run holds it: two would write over each other."""

    code = "state_unusable"


@dataclass(frozen=True)
class FirstSteps:
    """What the person who starts the box needs; None once it is of no more use."""

    claim_code: str | None
    demo_api_key: str | None


def take_state(settings: Settings) -> IO[str]:
    """Makes the state directory and locks it until the returned file is closed. Raises StateUnusable."""
    if len(bytes(settings.engine_socket(DEMO_MODEL_NAME))) > LONGEST_SOCKET_PATH_BYTES:
        raise StateUnusable(
            f"The path {settings.state_dir} is too long for a socket.",
            next_step="Give a shorter one: --state.",
        )
    try:
        for folder in (settings.state_dir, settings.run_dir, settings.secrets_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (settings.run_dir, settings.secrets_dir):
            # they may have been there before, open to others; the state directory itself may be shared
            folder.chmod(0o700)
        lock = (settings.state_dir / "lock").open("w")
    except OSError as error:
        raise StateUnusable(
            f"The state directory {settings.state_dir} can't be used: {error.strerror}.",
            next_step="Give another one: --state.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateUnusable(
            f"The state directory {settings.state_dir} is in use by another run.",
            next_step="Stop that one, or give another directory: --state.",
        ) from None
    _empty(settings.run_dir)
    return lock


def _empty(folder: Path) -> None:
    try:
        for leftover in folder.iterdir():
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
    except OSError as error:
        raise StateUnusable(
            f"What an earlier run left can't be removed: {error}.",
            next_step=f"Empty {folder}, then start again.",
        ) from error


def refuse_taken_ports(settings: Settings) -> None:
    """Raises PortTaken unless both ports can be bound now."""
    for host, port in ((settings.listen_host, settings.port), ("127.0.0.1", settings.metrics_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise PortTaken(
                    f"Port {port} of {host} can't be used: {error.strerror}.",
                    next_step="Choose another one with --port (that one and the next one up must be free).",
                ) from error


def refuse_overlapping_network(settings: Settings) -> None:
    """Raises NetworksOverlap when another interface than our own has an address of the tunnel's network."""
    if settings.host_simulated:
        return
    # our own interface may be there still, from a run that was killed
    if taken := address_in_tunnel_network(except_on=settings.wireguard_interface):
        raise NetworksOverlap(
            f"This machine has the address {taken}, but {TUNNEL_NETWORK} is for the tunnels of workers.",
            next_step="Connect the box to a network with other addresses, or run it without --lan.",
        )


def prepare(settings: Settings) -> FirstSteps:
    """Migrates storage and makes certificate, claim code and demo key where missing. Safe to repeat.

    Raises SchemaTooNew before anything is changed.
    """
    return FirstSteps(
        claim_code=prepare_box(settings),
        demo_api_key=_demo_api_key(settings) if settings.development else None,
    )


def _demo_api_key(settings: Settings) -> str | None:
    """The key of this state directory alone, made once; None when an admin has revoked it since."""
    database, path = open_cellule(settings.state_dir), settings.secrets_dir / "demo-api-key"
    try:
        if not path.exists():
            key = people.create_api_key(database, "Demo", account_id=None)
            replace(path, f"{key.record.id}\n{key.secret}\n".encode())
        key_id, secret = path.read_text().split()
        valid = any(key.id == key_id and key.revoked_at is None for key in people.list_api_keys(database))
        return secret if valid else None
    finally:
        database.close()
