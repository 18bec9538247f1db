"""What the layers of a model take, so what a part must lend: planning and head do the same sum. Pure."""

from dataclasses import dataclass

BATCH_TOKENS = 512
"""As many as the batcher computes in one step."""
_FLOAT_BYTES = 4
_MASK_BYTES = 2
_WIDTHS_AT_ONCE = 6
"""Rows of feed-forward width that are alive at once in a graph: gate, up, their product, and copies. What
llama.cpp 0.3.36 reserves on a part, 18.5 MiB for 512 tokens at width 2304 and a cache of 2048, are 3.7."""


@dataclass(frozen=True)
class Weights:
    """`layer_bytes[i]` is layer i; the head keeps `other_bytes`: embeddings, output and their norm."""

    layer_bytes: tuple[int, ...]
    other_bytes: int
    largest_tensor_bytes: int
    """Of the layers: a part receives a tensor whole before it lays it down."""
    kv_bytes_per_layer_token: int
    """Of the layer that keeps most."""
    embedding_width: int
    feed_forward_width: int
    context_tokens_trained: int

    @property
    def layers(self) -> int:
        return len(self.layer_bytes)

    @property
    def weights_bytes(self) -> int:
        return sum(self.layer_bytes) + self.other_bytes


def part_bytes(weights: Weights, first_layer: int, layers: int, kv_tokens: int) -> int:
    """Memory of a part: its weights and cache, the graph's buffers, and one tensor on its way."""
    held = sum(weights.layer_bytes[first_layer : first_layer + layers])
    return held + kv_tokens * layers * weights.kv_bytes_per_layer_token + passing_bytes(weights, kv_tokens)


def passing_bytes(weights: Weights, kv_tokens: int) -> int:
    """What a node needs beside weights and cache while it computes."""
    width = max(weights.feed_forward_width, 4 * weights.embedding_width)
    graph = BATCH_TOKENS * (_WIDTHS_AT_ONCE * width * _FLOAT_BYTES + kv_tokens * _MASK_BYTES)
    return graph + weights.largest_tensor_bytes


def affordable_kv_tokens(weights: Weights, first_layer: int, layers: int, memory_bytes: int) -> int:
    """Tokens of cache that fit beside the weights of a part; negative where not even those fit."""
    spare = memory_bytes - part_bytes(weights, first_layer, layers, 0)
    return spare // (layers * weights.kv_bytes_per_layer_token + BATCH_TOKENS * _MASK_BYTES)
