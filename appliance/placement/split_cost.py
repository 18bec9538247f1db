"""What a split costs: memory of each node, and seconds a token, as arithmetic and as sentences. Pure.

One answer's next token passes the nodes one after the other, so the times add up:

    seconds = sum over nodes of: bytes that a token reads there / bytes a second
            + sum over parts of: round trips × latency + bytes passed / bandwidth + overhead

The first sum is the roofline of memory-bound work (Williams, Waterman, Patterson, CACM 52(4), 2009). The
second is what llama.cpp's RPC costs. Everything for a part is sent without waiting, and one answer is waited
for; a test counts messages and bytes with llama-cpp-python 0.3.36, and `./build.sh bench sharding` holds the
time against the clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.sharding.sizes import Weights, part_bytes, passing_bytes
from appliance.placement.contract import TYPICAL_TOKENS

ROUND_TRIPS = 1
ROWS_PASSED = 3
"""At most, each of the model's width at 32 bit: two to the part that follows layers of the head, else one,
and one back."""
MESSAGE_BYTES = 4_600
"""Around the rows: 2.6 kB, and a mask of 2 bytes for each token in the cache, usually about a thousand."""
OVERHEAD_SECONDS = 0.001
"""Of sending, of being woken and of beginning to compute."""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class SplitModel:
    """`kv_tokens` is the cache that all answers share; `active_share` what one token reads of a layer, beside
    the `cached_tokens` of its own answer."""

    name: str
    weights: Weights
    kv_tokens: int
    active_share: float = 1.0
    cached_tokens: int = TYPICAL_TOKENS

    @property
    def row_bytes(self) -> int:
        return self.weights.embedding_width * _FLOAT_BYTES


@dataclass(frozen=True)
class SplitNode:
    """A node's memory for this model, and how fast it reads it: measured, or its accelerator's figures.

    The link is the tunnel between head and node; the head's own has no cost.
    """

    id: str
    name: str
    memory_bytes: int
    bytes_per_second: float
    link_seconds: float = 0.0
    """A round trip."""
    link_bytes_per_second: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether it can be a part: its speed and its link are known."""
        return self.bytes_per_second > 0 and self.link_bytes_per_second > 0


@dataclass(frozen=True)
class Share:
    node: SplitNode
    first_layer: int
    layers: int
    is_head: bool


def whole_bytes(model: SplitModel) -> int:
    weights = model.weights
    return weights.other_bytes + part_bytes(weights, 0, weights.layers, model.kv_tokens)


def room(model: SplitModel, node: SplitNode, *, is_head: bool) -> int:
    """Layers that fit on a node, each counted as the largest; -1 where the head has no room for its own."""
    weights = model.weights
    spare = node.memory_bytes - passing_bytes(weights, model.kv_tokens)
    spare -= weights.other_bytes if is_head else 0
    if spare < 0:
        return -1
    each = max(weights.layer_bytes) + model.kv_tokens * weights.kv_bytes_per_layer_token
    return min(weights.layers, spare // each)


def share_bytes(model: SplitModel, share: Share) -> int:
    return part_bytes(model.weights, share.first_layer, share.layers, model.kv_tokens)


def _read_bytes(model: SplitModel, share: Share) -> float:
    held = sum(model.weights.layer_bytes[share.first_layer : share.first_layer + share.layers])
    cached = share.layers * _cached_bytes(model)
    return held * model.active_share + cached + (model.weights.other_bytes if share.is_head else 0)


def _cached_bytes(model: SplitModel) -> int:
    """Of one layer."""
    return model.cached_tokens * model.weights.kv_bytes_per_layer_token


def seconds_per_layer(model: SplitModel, node: SplitNode) -> float:
    read = max(model.weights.layer_bytes) * model.active_share + _cached_bytes(model)
    return read / node.bytes_per_second


def passed_bytes(model: SplitModel) -> int:
    """Between the head and one part for a token, both ways together."""
    return ROWS_PASSED * model.row_bytes + MESSAGE_BYTES


def _link_seconds(model: SplitModel, share: Share) -> float:
    if share.is_head:
        return 0.0
    node = share.node
    passing = passed_bytes(model) / node.link_bytes_per_second
    return ROUND_TRIPS * node.link_seconds + passing + OVERHEAD_SECONDS


def split_seconds(model: SplitModel, shares: Sequence[Share]) -> float:
    return sum(
        _read_bytes(model, share) / share.node.bytes_per_second + _link_seconds(model, share)
        for share in shares
    )


def told_share(model: SplitModel, share: Share) -> str:
    read, node = _read_bytes(model, share), share.node
    reading = (
        f"{node.name} {'keeps' if share.is_head else 'holds'} {share.layers} of {model.weights.layers} layers"
        f"{' and the vocabulary' if share.is_head else ''}: a token reads {told_gb(read)} at "
        f"{told_gb(node.bytes_per_second)}/s, {1000 * read / node.bytes_per_second:.1f} ms"
    )
    if share.is_head:
        return f"{reading}."
    passed = f"{passed_bytes(model) / 1000:.0f} kB"
    return (
        f"{reading}; its link takes {ROUND_TRIPS} × {1000 * node.link_seconds:.1f} ms and {passed} at "
        f"{node.link_bytes_per_second / 1e6:.0f} MB/s, {1000 * _link_seconds(model, share):.1f} ms."
    )


def told_sum(model: SplitModel, shares: Sequence[Share]) -> str:
    seconds = split_seconds(model, shares)
    return f"Together {1000 * seconds:.1f} ms a token: {1 / seconds:.1f} tokens/s for one answer."


def told_gb(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.2f} GB"
