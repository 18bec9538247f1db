"""The secret that signs the form cookie: made once, in a file that only the service user reads."""

import secrets

from appliance.private_file import write_once
from appliance.settings import Settings


def form_secret(settings: Settings) -> bytes:
    """32 random bytes, the same for every process and after every restart."""
    return write_once(settings.secrets_dir / "form-secret", secrets.token_bytes(32))
