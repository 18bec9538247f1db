"""The names under which the box is reached on the LAN by mDNS, as who announces them found them to be free.

`cellule.local` is the box's unless another host of the LAN answers to it. A name made from the box's own key
is always there, and so is one that an admin gave. What is announced is told through a file, for the
certificate, the console and the pages to name the same; before the first announcement the box hopes for both.
"""

import json
import re
from pathlib import Path

from appliance.private_file import replace
from appliance.settings import Settings

SHARED_NAME = "cellule.local"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.local")


def unique_name(settings: Settings) -> str:
    """cellule-XXXX.local, four hex digits of the box's public key: for as long as the box has that key."""
    # here and not above: the certificate is made with these names
    from appliance.claim.certificate import certificate_pin

    return f"cellule-{certificate_pin(settings)[:2].hex()}.local"


def box_names(settings: Settings) -> tuple[str, ...]:
    """The names to use for the box, best first; at least the unique one. A certificate adds localhost."""
    return _told(settings) or (SHARED_NAME, unique_name(settings))


def tell_names(settings: Settings, names: tuple[str, ...]) -> None:
    """What is announced from now on. Called by who announces."""
    if names != _told(settings):
        replace(_file(settings), json.dumps(names).encode())


def _told(settings: Settings) -> tuple[str, ...]:
    try:
        names = json.loads(_file(settings).read_bytes())
    except (OSError, ValueError):
        return ()
    return tuple(name for name in names if isinstance(name, str) and _NAME.fullmatch(name))


def _file(settings: Settings) -> Path:
    return settings.run_dir / "announced-names.json"
