"""How many bytes each layer of a GGUF model takes, read from the head of its files alone.

A large model often lies in several files, NAME-00001-of-00003.gguf; llama.cpp is given the first and finds
the others beside it, and so does this.
"""

import re
from pathlib import Path

from appliance.engines.served import ModelUnusable
from appliance.engines.sharding.sizes import Weights
from appliance.errors import Refusal
from appliance.models.gguf_facts import gguf_facts
from appliance.models.gguf_header import Tensor, read_gguf_header

_KV_BYTES_PER_VALUE = 2
"""The cache is kept at 16 bit."""
_OF_SEVERAL = re.compile(r"(.+)-00001-of-(\d{5})\.gguf")
_LAYER = re.compile(r"blk\.(\d+)\.")


def read_weights(path: Path) -> Weights:
    """Raises ModelUnusable where `path` is no whole GGUF model."""
    try:
        headers = [read_gguf_header(file) for file in _files(path)]
        facts = gguf_facts(headers)
    except (OSError, Refusal) as error:
        raise ModelUnusable(f"{path} can't be split: {error}", next_step="Get the model again.") from error
    tensors = [tensor for header in headers for tensor in header.tensors]
    layers = [0] * facts.layers
    for tensor in tensors:
        if (layer := _layer(tensor)) is not None and layer < len(layers):
            layers[layer] += tensor.size_bytes
    return Weights(
        layer_bytes=tuple(layers),
        other_bytes=sum(tensor.size_bytes for tensor in tensors) - sum(layers),
        largest_tensor_bytes=max(
            (tensor.size_bytes for tensor in tensors if _layer(tensor) is not None), default=0
        ),
        kv_bytes_per_layer_token=max(facts.kv_heads)
        * (facts.key_length + facts.value_length)
        * _KV_BYTES_PER_VALUE,
        embedding_width=facts.embedding_width,
        feed_forward_width=facts.feed_forward_width,
        context_tokens_trained=facts.context_tokens,
    )


def _files(path: Path) -> list[Path]:
    several = _OF_SEVERAL.fullmatch(path.name)
    if several is None:
        return [path]
    name, count = several.groups()
    return [path.with_name(f"{name}-{number:05}-of-{count}.gguf") for number in range(1, int(count) + 1)]


def _layer(tensor: Tensor) -> int | None:
    found = _LAYER.match(tensor.name)
    return int(found[1]) if found else None
