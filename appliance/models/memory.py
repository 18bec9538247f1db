"""How much memory a model takes: weights, cache, room to compute, with the arithmetic. Pure.

The formulas are llama.cpp's; tests hold them against what it allocates. What an engine takes beside them (its
own program, a prefix store) is not the model's and not counted here.
"""

from dataclasses import dataclass

from appliance.engines.options import Kind
from appliance.models.facts import ModelFacts

BATCH_TOKENS = 512
"""As many tokens an engine computes in one step."""
_EMBEDDED_TOKENS = 2048
"""Of one step of an embedder or a reranker, however many texts come (engines.embedder)."""
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
    cache, compute = cache_and_compute_bytes(facts, context, slots, kv_bits)
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
        (
            weights_told,
            *_cache_told(facts, context, slots, kv_bits),
            compute_told,
            f"Together {told_bytes(total)}.",
        ),
    )


def cache_and_compute_bytes(
    facts: ModelFacts, context_tokens: int, slots: int, kv_bits: int = 16
) -> tuple[int, int]:
    """The same without its sentences."""
    cache = facts.state_bytes * slots
    if _keeps_cache(facts):
        cache += _cached_tokens(context_tokens, slots) * _token_bytes(facts, kv_bits)
    return cache, _compute_bytes(facts, context_tokens * slots)


def told_bytes(count: int) -> str:
    """For a person: 5.03 GB. Powers of ten, as disks and hubs count."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count} bytes"


def _keeps_cache(facts: ModelFacts) -> bool:
    """Of layers with attention it grows with the text, of the others it doesn't. None without generation."""
    return facts.kind in (Kind.TEXT, Kind.TRANSCRIPTION) and facts.kv_values_per_token > 0


def _cached_tokens(context: int, slots: int) -> int:
    return -(-context * slots // _CACHE_PAD_TOKENS) * _CACHE_PAD_TOKENS


def _token_bytes(facts: ModelFacts, kv_bits: int) -> int:
    return facts.kv_values_per_token * kv_bits // 8


def _cache_told(facts: ModelFacts, context: int, slots: int, kv_bits: int) -> tuple[str, ...]:
    if not _keeps_cache(facts):
        return ()
    each = _token_bytes(facts, kv_bits)
    layers = sum(1 for heads in facts.kv_heads if heads)
    told = (
        f"Cache: {layers} layers with {sum(facts.kv_heads)} heads in all, each a key of {facts.key_length} "
        f"and a value of {facts.value_length} at {kv_bits} bit, are {each:,} bytes for a token; for "
        f"{slots} × {context:,} tokens {told_bytes(each * _cached_tokens(context, slots))}."
    )
    if not facts.state_bytes:
        return (told,)
    state = told_bytes(facts.state_bytes * slots)
    rest = f"State of the other layers: {slots} × {facts.state_bytes:,} bytes are {state}."
    return told, rest


def _compute_bytes(facts: ModelFacts, tokens: int) -> int:
    """The larger of the two moments that need most: the logits at the end, or the widest layer with its mask.

    A row is so many values for each token of a step. An embedder computes whole texts in one step.
    """
    generates = facts.kind is Kind.TEXT
    if not generates:
        tokens = min(tokens, _EMBEDDED_TOKENS)
    batch = BATCH_TOKENS if generates else tokens
    kv_heads = max(facts.kv_heads, default=0)
    attention = 2 * facts.heads * facts.key_length + kv_heads * (facts.key_length + facts.value_length)
    feed_forward = (3 * facts.feed_forward_width + facts.embedding_width) * max(1, facts.experts_used)
    layer_row = 4 * facts.embedding_width + max(attention, feed_forward - facts.embedding_width)
    logits_row = facts.vocabulary + 2 * facts.embedding_width if generates else 0
    return batch * max(logits_row * _FLOAT_BYTES, layer_row * _FLOAT_BYTES + tokens * _MASK_BYTES)
