"""What lies at a model's path, before OpenVINO loads it: a GGUF file, or a folder of its own format (IR).

OpenVINO reads a file that is cut off as if it were whole, so everything is checked here, and each refusal is
a sentence. Numbers come from the files' own metadata.
"""

import json
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from appliance.engines.sampling_plan import SamplingDefaults, advised_sampling
from appliance.engines.served import ModelUnusable
from appliance.errors import Refusal
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.gguf_header import GgufHeader, read_gguf_header
from appliance.models.openvino_gguf import GGUF_ARCHITECTURES

MODEL_FILE = "openvino_model.xml"
TOKENIZER_FILE = "openvino_tokenizer.xml"
_KV_BYTES_PER_VALUE = 2
_SAMPLING = {"temperature": "temp", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}


MOST_GGUF_TOKENS = 8192
"""The tokenizer that GenAI makes of a GGUF file cuts every text to so many without a word: no prompt that was
cut may fit into the context."""


@dataclass(frozen=True)
class ModelFiles:
    """A model that could be loaded, with what its files say of it. Lengths in tokens; 0: they don't say."""

    path: Path
    format: ModelFormat
    name: str
    context_tokens: int
    kv_bytes_per_token: int
    """At 16 bit, an upper bound."""
    sampling_defaults: SamplingDefaults
    created: int
    """Epoch seconds."""

    def sha256(self) -> str:
        """Of the file, or the digest of all files of the folder (Bundle.digest)."""
        if self.format is ModelFormat.GGUF:
            return _sha256(self.path)
        return folder_digest(self.path)


def folder_digest(path: Path) -> str:
    """Of all files below it, as Bundle.digest."""
    files = sorted(each for each in path.rglob("*") if each.is_file())
    described = tuple(
        BundleFile(
            path=each.relative_to(path).as_posix(),
            size_bytes=each.stat().st_size,
            sha256=_sha256(each),
        )
        for each in files
    )
    return Bundle(format=ModelFormat.OPENVINO, files=described).digest


def read_model_files(path: Path) -> ModelFiles:
    """Raises ModelUnusable."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise ModelUnusable(f"There is no model at {path}.", next_step="Check the path.")
    return _gguf(path)


def _gguf(path: Path) -> ModelFiles:
    try:
        header = read_gguf_header(path)
    except Refusal as error:
        raise ModelUnusable(f"{path} can't be used: {error.sentence}", next_step=error.next_step) from error
    architecture = header.text("general.architecture")
    if architecture not in GGUF_ARCHITECTURES:
        raise ModelUnusable(
            f"OpenVINO reads GGUF files of {', '.join(sorted(GGUF_ARCHITECTURES))}; "
            f"{path} is of {architecture or 'no architecture that it names'}.",
            next_step="Serve it by llama.cpp, or import it in OpenVINO's own format.",
        )
    heads = header.number(f"{architecture}.attention.head_count")
    width = header.number(f"{architecture}.embedding_length")
    head_width = header.number(f"{architecture}.attention.key_length") or width // max(1, heads)
    kv_heads = header.number(f"{architecture}.attention.head_count_kv") or heads
    told = header.number(f"{architecture}.context_length")
    return ModelFiles(
        path=path,
        format=ModelFormat.GGUF,
        name=header.text("general.name") or path.stem,
        context_tokens=min(told or MOST_GGUF_TOKENS, MOST_GGUF_TOKENS),
        kv_bytes_per_token=_kv_bytes(header.number(f"{architecture}.block_count"), kv_heads, head_width),
        sampling_defaults=_gguf_sampling(header),
        created=int(path.stat().st_mtime),
    )


def _folder(path: Path) -> ModelFiles:
    for name, what in ((MODEL_FILE, "an OpenVINO model"), (TOKENIZER_FILE, "a tokenizer")):
        weights = (path / name).with_suffix(".bin")
        if not (path / name).is_file() or not weights.is_file():
            missing = weights.name if (path / name).is_file() else name
            raise ModelUnusable(
                f"The folder {path} holds no {missing}: it is not {what}."
                if name == MODEL_FILE
                else f"The folder {path} holds no {missing}: the model has no tokenizer.",
                next_step="Export or import the model anew, whole.",
            )
    config = _json(path / "config.json")
    heads = _number(config, "num_attention_heads")
    head_width = _number(config, "head_dim") or _number(config, "hidden_size") // max(1, heads)
    kv_heads = _number(config, "num_key_value_heads") or heads
    return ModelFiles(
        path=path,
        format=ModelFormat.OPENVINO,
        name=str(config.get("_name_or_path") or path.name),
        context_tokens=_number(config, "max_position_embeddings"),
        kv_bytes_per_token=_kv_bytes(_number(config, "num_hidden_layers"), kv_heads, head_width),
        sampling_defaults=_folder_sampling(_json(path / "generation_config.json")),
        created=int((path / MODEL_FILE).stat().st_mtime),
    )


def _kv_bytes(layers: int, kv_heads: int, head_width: int) -> int:
    return 2 * _KV_BYTES_PER_VALUE * layers * kv_heads * head_width


def _gguf_sampling(header: GgufHeader) -> SamplingDefaults:
    return advised_sampling(
        {name: header.metadata.get(f"general.sampling.{key}") for name, key in _SAMPLING.items()}
    )


def _folder_sampling(config: dict[str, Any]) -> SamplingDefaults:
    """As transformers writes generation_config.json: temperature and the others count only with do_sample."""
    if not config.get("do_sample"):
        return SamplingDefaults()
    return advised_sampling({name: config.get(name) for name in _SAMPLING})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ModelUnusable(f"{path} is no JSON.", next_step="Export or import the model anew.") from error
    return found if isinstance(found, dict) else {}


def _number(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
