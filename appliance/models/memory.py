"""How much memory a model takes: weights, cache, room to compute, with the arithmetic. Pure.

The formulas are llama.cpp's; tests hold them against what it allocates. What an engine takes beside them (its
own program, a prefix store) is not the model's and not counted here.
"""

from dataclasses import dataclass

from appliance.engines.options import Kind
from appliance.models.facts import ModelFacts

BATCH_TOKENS = 512
"""As many tokens an engine computes in one step."""
_CACHE_PAD_TOKENS = 256
_FLOAT_BYTES = 4
_MASK_BYTES = 2


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes; `arithmetic` has a sentence for each part."""

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int
    arithmetic: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


def memory_need(facts: ModelFacts, context_tokens: int, slots: int, kv_bits: int = 16) -> MemoryNeed:
    """For `slots` sequences of `context_tokens` each (0: as the model was trained), at once."""
    context = context_tokens or facts.context_tokens
    cache, cache_told = _cache(facts, context, slots, kv_bits)
    compute = _compute_bytes(facts, context * slots)
    weights_told = (
        f"Weights: {facts.parameters / 1e9:.2f} billion parameters as {facts.quantisation} are "
        f"{told_bytes(facts.weights_bytes)}."
    )
    compute_told = f"Computing takes about {told_bytes(compute)}."
    total = facts.weights_bytes + cache + compute
    return MemoryNeed(
        facts.weights_bytes,
        cache,
        compute,
        (weights_told, *cache_told, compute_told, f"Together {told_bytes(total)}."),
    )


def told_bytes(count: int) -> str:
    """For a person: 5.03 GB. Powers of ten, as disks and hubs count."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count} bytes"


def _cache(facts: ModelFacts, context: int, slots: int, kv_bits: int) -> tuple[int, tuple[str, ...]]:
    """Of layers with attention it grows with the text, of the others it doesn't. None without generation."""
    if facts.kind not in (Kind.TEXT, Kind.TRANSCRIPTION) or not facts.kv_values_per_token:
        return facts.state_bytes * slots, ()
    padded = -(-context * slots // _CACHE_PAD_TOKENS) * _CACHE_PAD_TOKENS
    each = facts.kv_values_per_token * kv_bits // 8
    layers = sum(1 for heads in facts.kv_heads if heads)
    told = (
        f"Cache: {layers} layers with {sum(facts.kv_heads)} heads in all, each a key of {facts.key_length} "
        f"and a value of {facts.value_length} at {kv_bits} bit, are {each:,} bytes for a token; for "
        f"{slots} × {context:,} tokens {told_bytes(each * padded)}."
    )
    if not facts.state_bytes:
        return each * padded, (told,)
    state = facts.state_bytes * slots
    rest = f"State of the other layers: {slots} × {facts.state_bytes:,} bytes are {told_bytes(state)}."
    return each * padded + state, (told, rest)


def _compute_bytes(facts: ModelFacts, tokens: int) -> int:
    """The larger of the two moments that need most: the logits at the end, or the widest layer with its mask.

    A row is so many values for each token of a step. An embedder computes its whole text in one step.
    """
    generates = facts.kind is Kind.TEXT
    batch = BATCH_TOKENS if generates else tokens
    kv_heads = max(facts.kv_heads, default=0)
    attention = 2 * facts.heads * facts.key_length + kv_heads * (facts.key_length + facts.value_length)
    feed_forward = (3 * facts.feed_forward_width + facts.embedding_width) * max(1, facts.experts_used)
    layer_row = 4 * facts.embedding_width + max(attention, feed_forward - facts.embedding_width)
    logits_row = facts.vocabulary + 2 * facts.embedding_width if generates else 0
    return batch * max(logits_row * _FLOAT_BYTES, layer_row * _FLOAT_BYTES + tokens * _MASK_BYTES)
