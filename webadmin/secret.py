"""The secret that signs the form cookie: made once, in a file that only the service user reads."""

import contextlib
import os
import secrets

from appliance.settings import Settings


def form_secret(settings: Settings) -> bytes:
    """32 random bytes, the same for every process and after every restart."""
    settings.secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.secrets_dir / "form-secret"
    if not path.exists():
        draft = path.with_name(f".form-secret.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        # two processes starting together: the first link wins, both read the same file
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
