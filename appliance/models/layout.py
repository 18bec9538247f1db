"""Where a model's files lie in the store, from their hashes alone. Paths only; nothing is read or made.

models/blobs/SHA256          each file once, read-only, by its hash
models/DIGEST/PATH           a bundle: hard links to its blobs, by the names that an engine looks for
models/incoming/             what is on its way and was not verified yet
models/pieces/SHA256         how a blob is handed out (appliance/handout)
"""

from pathlib import Path

from appliance.models.bundle import Bundle


def models_dir(state_dir: Path) -> Path:
    """The store of the box, or of a PC, whose state lies in `state_dir`."""
    return state_dir / "models"


def blobs_dir(state_dir: Path) -> Path:
    return models_dir(state_dir) / "blobs"


def incoming_dir(state_dir: Path) -> Path:
    return models_dir(state_dir) / "incoming"


def blob_path(state_dir: Path, sha256: str) -> Path:
    """A file by its hash; also of one that is not there."""
    return blobs_dir(state_dir) / sha256


def bundle_folder(state_dir: Path, digest: str) -> Path:
    """The folder of a bundle's links."""
    return models_dir(state_dir) / digest


def engine_path(state_dir: Path, bundle: Bundle) -> Path:
    """What an engine is started with, in the store."""
    return bundle.opened_in(bundle_folder(state_dir, bundle.digest))
