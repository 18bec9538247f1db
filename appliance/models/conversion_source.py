"""What lies in a folder of safetensors: which kind of model, how large, and whether it may be converted.

Refused before anything is started: weights that would run code when they are read (pickle), a model that
brings its own code, a file that ends before its last tensor, a model without its tokenizer.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from appliance.engines.options import Kind
from appliance.errors import Refused

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model")
_LONGEST_HEADER_BYTES = 100_000_000


class NotConvertible(Refused):
    code: ClassVar[str] = "model_not_convertible"


class Weights(StrEnum):
    """How the weights are kept: 16-bit floats, or integers of 8 or 4 bits.

    NPUs take 4 bits only symmetric, with one scale for each row ("channel-wise") or for each 128 weights.
    """

    FP16 = "fp16"
    INT8 = "int8"
    INT4 = "int4"
    INT4_CHANNEL_WISE = "int4-cw"
    INT4_GROUPS = "int4-gq"


BYTES_A_WEIGHT = {
    Weights.FP16: 2.0,
    Weights.INT8: 1.05,
    Weights.INT4: 0.7,
    Weights.INT4_CHANNEL_WISE: 0.7,
    Weights.INT4_GROUPS: 0.7,
}
"""With scales and the layers that stay at more bits."""
TASKS = {
    Kind.TEXT: "text-generation-with-past",
    Kind.EMBEDDINGS: "feature-extraction",
    Kind.RERANK: "text-classification",
    Kind.TRANSCRIPTION: "automatic-speech-recognition-with-past",
    Kind.IMAGES: "text-to-image",
}
"""As optimum-intel names them."""


@dataclass(frozen=True)
class Source:
    """A folder that can be converted."""

    folder: Path
    kind: Kind
    weights: int
    """Their number, not bytes."""
    bytes: int

    def memory_needed_bytes(self) -> int:
        return conversion_memory_bytes(self.bytes)

    def disk_needed_bytes(self, weights: Weights) -> int:
        return conversion_disk_bytes(self.weights, weights)


_CONVERTER_BYTES = 1_200_000_000
_TOKENIZER_BYTES = 100_000_000


def converted_bytes(parameters: int, weights: Weights) -> int:
    """About what the converted model takes."""
    return int(BYTES_A_WEIGHT[weights] * parameters)


def conversion_memory_bytes(source_bytes: int) -> int:
    """The whole model as it lies there, once more while it is written, and the converter itself."""
    return 2 * source_bytes + _CONVERTER_BYTES


def conversion_disk_bytes(parameters: int, weights: Weights) -> int:
    """Beside the source. It is written as 16-bit floats first and compressed from there."""
    first = 2 * parameters if weights is not Weights.FP16 else 0
    return first + converted_bytes(parameters, weights) + _TOKENIZER_BYTES


def parameters_in(files: Mapping[str, Path]) -> int:
    """How many weights the safetensors among the files hold. Raises NotConvertible."""
    return sum(_weights_of(file) for path, file in files.items() if path.endswith(".safetensors"))


def read_source(folder: Path) -> Source:
    """Raises NotConvertible, with a sentence."""
    if not folder.is_dir():
        raise NotConvertible(f"{folder} is no folder.", next_step="Name the folder with config.json in it.")
    index = _json(folder / "model_index.json")
    config = _json(folder / "config.json")
    if index is None and config is None:
        raise NotConvertible("The folder has no config.json.", next_step="A model's whole folder is needed.")
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        _refuse_without_weights(folder)
    kind = Kind.IMAGES if index is not None else kind_of(config or {}, has_modules=_has_modules(folder))
    if kind is not Kind.IMAGES and not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise NotConvertible(
            "The folder has no tokenizer.", next_step="Put tokenizer.json beside config.json."
        )
    return Source(folder, kind, sum(map(_weights_of, files)), sum(file.stat().st_size for file in files))


def kind_of(config: dict[str, Any], *, has_modules: bool) -> Kind:
    """By the architecture that config.json names; `has_modules`: made by sentence-transformers."""
    if config.get("auto_map"):
        raise NotConvertible(
            "The model brings its own program code, which is never run here.",
            next_step="Take a version of it that transformers knows by itself.",
        )
    named = [str(name) for name in config.get("architectures") or ()]
    name = named[0] if named else ""
    if name == "WhisperForConditionalGeneration":
        return Kind.TRANSCRIPTION
    if name.endswith("ForSequenceClassification"):
        return Kind.RERANK
    if has_modules or (name.endswith("Model") and config.get("model_type")):
        return Kind.EMBEDDINGS
    if name.endswith("ForCausalLM"):
        return Kind.TEXT
    raise NotConvertible(
        f"Models of the architecture {name or 'that config.json does not name'} can't be converted here."
    )


def _has_modules(folder: Path) -> bool:
    return (folder / "modules.json").is_file()


def _refuse_without_weights(folder: Path) -> None:
    pickled = [*folder.rglob("*.bin"), *folder.rglob("*.pt"), *folder.rglob("*.ckpt")]
    if pickled:
        raise NotConvertible(
            f"{pickled[0].name} could run code when it is read, so it is not.",
            next_step="Take the model's safetensors files.",
        )
    raise NotConvertible("The folder has no weights.", next_step="Its *.safetensors files are needed.")


def _json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise NotConvertible(f"{file.name} is no valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise NotConvertible(f"{file.name} holds no object.")
    return content


def _weights_of(file: Path) -> int:
    """How many weights a safetensors file holds, by its header, which must agree with the file's length.

    The format: https://github.com/huggingface/safetensors#format
    """
    broken = NotConvertible(
        f"{file.name} is broken or not complete.", next_step="Copy or download the file again."
    )
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            [length] = struct.unpack("<Q", opened.read(8))
            if length > min(size, _LONGEST_HEADER_BYTES):
                raise broken
            header = json.loads(opened.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
        count = sum(_product(entry["shape"]) for entry in tensors)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise broken from error
    if 8 + length + end != size:
        raise broken
    return count


def _product(shape: list[int]) -> int:
    number = 1
    for side in shape:
        number *= int(side)
    return number
