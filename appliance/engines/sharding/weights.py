"""How many bytes each layer of a GGUF file takes, read from its header alone.

Nothing is loaded: llama.cpp reads the header (`gguf_*`, gguf.h) and tells the size of each tensor.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

from appliance.engines.llama import Pointer, llama
from appliance.engines.model import ModelUnusable

KV_BYTES_PER_VALUE = 2
"""The cache is kept at 16 bit."""
_library = llama._lib
_UNSIGNED_32, _SIGNED_32, _STRING, _ARRAY = 4, 5, 8, 9  # gguf_type
_MOST_LAYERS = 10_000


class _InitParameters(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


@dataclass(frozen=True)
class Weights:
    """`layer_bytes[i]` is layer i; the head keeps `other_bytes`: embeddings, output and their norm."""

    layer_bytes: tuple[int, ...]
    other_bytes: int
    largest_tensor_bytes: int
    """Of the layers: a part receives a tensor whole before it lays it down."""
    embedding_width: int
    feed_forward_width: int
    kv_bytes_per_layer_token: int
    context_tokens_trained: int

    @property
    def layers(self) -> int:
        return len(self.layer_bytes)


def read_weights(path: Path) -> Weights:
    """Raises ModelUnusable where `path` is no GGUF file with layers."""
    parameters = _InitParameters(no_alloc=True, ctx=None)
    _library.gguf_init_from_file.restype = ctypes.c_void_p
    _library.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParameters]
    header = _library.gguf_init_from_file(str(path).encode(), parameters) if path.is_file() else None
    if not header:
        raise ModelUnusable(f"{path} is no complete GGUF file.", next_step="Get the file again.")
    try:
        return _weights(header, path)
    finally:
        _call("gguf_free", None, header)


def _weights(header: Pointer, path: Path) -> Weights:
    sizes = dict(_tensors(header))
    architecture = _string(header, "general.architecture")
    count = min(_number(header, f"{architecture}.block_count"), _MOST_LAYERS)
    layers = tuple(
        sum(size for name, size in sizes.items() if name.startswith(f"blk.{number}."))
        for number in range(count)
    )
    if not layers or 0 in layers:
        raise ModelUnusable(f"The layers of {path} are not all there.", next_step="Get the file again.")
    width = _number(header, f"{architecture}.embedding_length")
    heads = max(1, _number(header, f"{architecture}.attention.head_count"))
    heads_kv = _number(header, f"{architecture}.attention.head_count_kv") or heads
    key = _number(header, f"{architecture}.attention.key_length") or width // heads
    value = _number(header, f"{architecture}.attention.value_length") or key
    return Weights(
        layer_bytes=layers,
        other_bytes=sum(sizes.values()) - sum(layers),
        largest_tensor_bytes=max(size for name, size in sizes.items() if name.startswith("blk.")),
        embedding_width=width,
        feed_forward_width=_number(header, f"{architecture}.feed_forward_length"),
        kv_bytes_per_layer_token=heads_kv * (key + value) * KV_BYTES_PER_VALUE,
        context_tokens_trained=_number(header, f"{architecture}.context_length"),
    )


def _tensors(header: Pointer) -> list[tuple[str, int]]:
    found = []
    for number in range(_call("gguf_get_n_tensors", ctypes.c_int64, header)):
        index = ctypes.c_int64(number)
        name = _call("gguf_get_tensor_name", ctypes.c_char_p, header, index)
        found.append((name.decode(), _call("gguf_get_tensor_size", ctypes.c_size_t, header, index)))
    return found


def _string(header: Pointer, key: str) -> str:
    index = _key(header, key)
    # llama.cpp aborts the process where the kind is another one
    if index < 0 or _call("gguf_get_kv_type", ctypes.c_int, header, ctypes.c_int64(index)) != _STRING:
        return ""
    text: bytes = _call("gguf_get_val_str", ctypes.c_char_p, header, ctypes.c_int64(index))
    return text.decode("utf-8", "replace")


def _number(header: Pointer, key: str) -> int:
    """0 where there is no such key; of an array, one number for each layer, the largest."""
    index = _key(header, key)
    if index < 0:
        return 0
    where = ctypes.c_int64(index)
    kind = _call("gguf_get_kv_type", ctypes.c_int, header, where)
    if kind == _UNSIGNED_32:
        return int(_call("gguf_get_val_u32", ctypes.c_uint32, header, where))
    if kind == _ARRAY and _call("gguf_get_arr_type", ctypes.c_int, header, where) in (
        _UNSIGNED_32,
        _SIGNED_32,
    ):
        length = _call("gguf_get_arr_n", ctypes.c_size_t, header, where)
        data = _call("gguf_get_arr_data", ctypes.POINTER(ctypes.c_int32), header, where)
        return max(data[:length], default=0)
    return 0


def _key(header: Pointer, key: str) -> int:
    return int(_call("gguf_find_key", ctypes.c_int64, header, key.encode()))


def _call(name: str, result: object, header: Pointer, *arguments: object) -> Pointer:
    function = getattr(_library, name)
    function.restype = result
    return function(ctypes.c_void_p(header), *arguments)
