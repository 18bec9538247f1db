"""A model as files: what they are, how large, and the one hash that names them all.

A GGUF model is one file, an OpenVINO model a folder. Wherever a bundle lies, on the box or on a PC, it is
used only after each file had its hash.
"""

import hashlib
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_FILES = 256


class ModelFormat(StrEnum):
    """How the weights lie on the disk."""

    GGUF = "gguf"
    OPENVINO = "openvino"


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if (
        path.is_absolute()
        or not path.parts
        or ".." in path.parts
        or str(path) != text
        or "\\" in text
        or not text.isprintable()
    ):
        raise ValueError("must be a plain path inside the model's folder")
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InnerPath = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_inside)]


class BundleFile(BaseModel):
    """One file, by its path inside the model's folder."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    path: InnerPath
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class Bundle(BaseModel):
    """All files of a model, in the order of their paths."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    format: ModelFormat
    files: tuple[BundleFile, ...] = Field(min_length=1, max_length=MOST_FILES)

    @property
    def digest(self) -> str:
        """SHA-256 in hex: of the file itself where there is one, else of the list of files."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = [
            [file.path, file.size_bytes, file.sha256] for file in sorted(self.files, key=lambda f: f.path)
        ]
        return hashlib.sha256(orjson.dumps(lines)).hexdigest()

    def opened_in(self, folder: Path) -> Path:
        """What an engine is started with: a GGUF file (of several, the first), or an OpenVINO folder."""
        if self.format is ModelFormat.OPENVINO:
            return folder
        # a file beside the weights, a README, may come first in the order of paths
        paths = [file.path for file in self.files]
        weights = [path for path in paths if path.endswith(".gguf")] or paths
        return folder / min(weights, key=PurePosixPath)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)
