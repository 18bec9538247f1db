"""Where each peer was last seen, kept in a file so that a rebuilt tunnel can call its peers at once.

Without it a box whose interface was rebuilt waits until each worker's next packet and handshake.
"""

import json
from pathlib import Path

from appliance.host.contract import PeerStatus


class RememberedEndpoints:
    """One JSON file per interface in `folder`: public key → address:port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, interface: str) -> dict[str, str]:
        """Empty when nothing was remembered, or the file is damaged: it is only a hint."""
        try:
            known = json.loads(self._path(interface).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def remember(self, interface: str, peers: tuple[PeerStatus, ...]) -> None:
        """Keeps the endpoints of the peers that exist now and have one."""
        seen = {peer.public_key: peer.endpoint for peer in peers if peer.endpoint is not None}
        if seen and seen != self.load(interface):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._path(interface).with_suffix(".new")
            draft.write_text(json.dumps(seen))
            draft.replace(self._path(interface))

    def forget(self, interface: str) -> None:
        self._path(interface).unlink(missing_ok=True)

    def _path(self, interface: str) -> Path:
        return self._folder / f"endpoints-{interface}.json"
