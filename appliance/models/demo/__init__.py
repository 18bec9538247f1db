"""The demo model that ships with the appliance: where its file is, and whether it is the one we trained.

The model answers from the first minute without a download. Everything else in this folder is the
recipe that makes it (README.md); the running product imports only this file, which needs nothing
but the standard library.
"""

import hashlib
from pathlib import Path

from appliance.errors import NotTrusted

DEMO_MODEL_NAME = "cellule-demo"
DEMO_MODEL_PATH = Path(__file__).parent / "cellule-demo.gguf"
DEMO_MODEL_HASH_PATH = DEMO_MODEL_PATH.with_suffix(".gguf.sha256")
"""One line in the form of sha256sum(1): 64 hex digits, two spaces, the file's name."""


class DemoModelDamaged(NotTrusted):
    code = "demo_model_damaged"
    http_status = 500
    openai_type = "server_error"


def verify_demo_model() -> str:
    """The SHA-256 of the demo model's file, in hex, once it equals the recorded one (takes some 10 ms).

    Raises DemoModelDamaged if the file or its recorded hash is missing or the two differ.
    """
    try:
        recorded = DEMO_MODEL_HASH_PATH.read_text(encoding="ascii").split()[0]
        found = hashlib.sha256(DEMO_MODEL_PATH.read_bytes()).hexdigest()
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise _damaged(f"The demo model cannot be checked: {error}.") from error
    if found != recorded:
        raise _damaged(f"The demo model {DEMO_MODEL_PATH.name} is not the file that was released.")
    return found


def _damaged(sentence: str) -> DemoModelDamaged:
    return DemoModelDamaged(
        sentence, next_step="Restore it from the release, or with git checkout in a clone."
    )
