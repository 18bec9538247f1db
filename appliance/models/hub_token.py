"""The token of the company's account at the hub, for models that are given to signed-in people only.

It lies in a file of its own among the box's secrets, is read by the process that downloads, and is sent to
the hub alone: in no setting, no command line, no address, no log.
"""

from appliance.private_file import replace
from appliance.settings import Settings

_FILE = "hub-token"


def keep_hub_token(settings: Settings, token: str) -> None:
    """In place of the one before."""
    replace(settings.secrets_dir / _FILE, token.strip().encode())


def has_hub_token(settings: Settings) -> bool:
    return (settings.secrets_dir / _FILE).exists()


def forget_hub_token(settings: Settings) -> None:
    (settings.secrets_dir / _FILE).unlink(missing_ok=True)


def hub_token_path(settings: Settings) -> str:
    """For the process that downloads; "" where there is none."""
    return str(settings.secrets_dir / _FILE) if has_hub_token(settings) else ""
