"""Which models this machine has: a file NAME.gguf in the worker's own folder, or the demo that ships."""

import re
from pathlib import Path

from appliance.models.demo import DEMO_MODEL_NAME, DEMO_MODEL_PATH

# the name comes from the network; it must not be a way out of the folder
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_model_name(name: str) -> bool:
    """Whether it may become part of a path or a command line."""
    return _NAME.fullmatch(name) is not None


def find_model(state_dir: Path, name: str) -> Path | None:
    """The model's file, None if this machine doesn't have it."""
    if not is_model_name(name):
        return None
    candidates = [state_dir / "models" / f"{name}.gguf"]
    if name == DEMO_MODEL_NAME:
        candidates.append(DEMO_MODEL_PATH)
    return next((file for file in candidates if file.is_file()), None)
