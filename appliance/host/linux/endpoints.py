"""Where each peer was last seen, kept in a file so that a rebuilt tunnel can call its peers at once.

Without it a box whose interface was rebuilt waits until each worker's next packet and handshake. The file may
lie in the service user's folder, so root neither writes through a link there nor believes what it reads.
"""

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from appliance.host.contract import PeerStatus
from appliance.host.plan import Endpoint, PublicKey
from appliance.private_file import replace

_HINTS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[PublicKey, Endpoint])


class RememberedEndpoints:
    """One JSON file per interface in `folder`: public key → address:port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, interface: str) -> dict[str, str]:
        """Empty when nothing was remembered, or the file is damaged: it is only a hint."""
        try:
            return _HINTS.validate_json(self._path(interface).read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}

    def remember(self, interface: str, peers: tuple[PeerStatus, ...]) -> None:
        """Keeps the endpoints of the peers that exist now and have one."""
        seen = {peer.public_key: peer.endpoint for peer in peers if peer.endpoint is not None}
        if seen and seen != self.load(interface):
            replace(self._path(interface), json.dumps(seen).encode())

    def forget(self, interface: str) -> None:
        self._path(interface).unlink(missing_ok=True)

    def _path(self, interface: str) -> Path:
        return self._folder / f"endpoints-{interface}.json"
