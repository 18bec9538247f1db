"""From the heads of a GGUF model's files to its facts. Pure.

A large model may lie in several files (split.*); the first has the metadata, all have tensors. Keys as in
llama.cpp, whose formulas of cache and recurrent state (llama-hparams.cpp) these are.
"""

import re
from collections import Counter
from collections.abc import Sequence

from appliance.engines.options import Kind
from appliance.models.bundle import ModelFormat
from appliance.models.facts import ModelFacts
from appliance.models.gguf_header import Array, GgufHeader, ModelFileUnusable, Tensor
from appliance.models.tensor_types import FILE_TYPES

_POOLING = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
_EMBEDDERS = frozenset({"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert"})
_MOST_LAYERS = 4096
_LAYER = re.compile(r"blk\.(\d{1,5})\.")
_MAKES_CACHE = re.compile(r"blk\.(\d{1,5})\.attn_(?:k|v|qkv|kv_b|kv_a_mqa)\.weight")
"""Weights whose outputs are keys or values, alone or beside others; the last two are of latent attention."""
_STATE_VALUE_BYTES = 4


def gguf_facts(headers: Sequence[GgufHeader]) -> ModelFacts:
    """`headers` in the order of the files' names. Raises ModelFileUnusable for what is no whole model."""
    first = headers[0]
    architecture = first.text("general.architecture")
    _refuse_what_is_no_model(first, architecture)
    _refuse_missing_parts(headers)
    tensors = [tensor for header in headers for tensor in header.tensors]
    layers = _number(first, f"{architecture}.block_count")
    if not 1 <= layers <= _MOST_LAYERS:
        raise ModelFileUnusable(f"The model claims {layers} layers.")
    _refuse_what_tensors_contradict(first, architecture, tensors, layers)
    template = first.text("tokenizer.chat_template")
    heads = _heads(first, architecture)
    width = _number(first, f"{architecture}.embedding_length")
    head_width = width // heads if heads else 0
    kv_heads = _kv_heads(first, architecture, layers, heads)
    key_length = _number(first, f"{architecture}.attention.key_length") or head_width
    value_length = _number(first, f"{architecture}.attention.value_length") or head_width
    # layers with a window may have heads of another length
    window_key_length = _number(first, f"{architecture}.attention.key_length_swa") or key_length
    window_value_length = _number(first, f"{architecture}.attention.value_length_swa") or value_length
    for length in (min(key_length, window_key_length), min(value_length, window_value_length)):
        _refuse_more_cache_than_is_made(tensors, kv_heads, length)
    pooling = _pooling(first, architecture)
    return ModelFacts(
        format=ModelFormat.GGUF,
        kind=_kind(headers, architecture, pooling),
        architecture=architecture,
        name=first.text("general.name"),
        parameters=sum(tensor.values for tensor in tensors),
        quantisation=_quantisation(headers),
        weights_bytes=sum(tensor.size_bytes for tensor in tensors),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        key_length=key_length,
        value_length=value_length,
        state_bytes=_state_bytes(first, architecture, layers),
        sliding_window=_number(first, f"{architecture}.attention.sliding_window"),
        embedding_width=width,
        feed_forward_width=_number(first, f"{architecture}.expert_feed_forward_length")
        or _largest(first, f"{architecture}.feed_forward_length"),
        context_tokens=_number(first, f"{architecture}.context_length"),
        has_plain_positions=_has_plain_positions(first, architecture)
        and not any(tensor.name.startswith("rope_f") for tensor in tensors),
        vocabulary=_vocabulary(first),
        experts=_number(first, f"{architecture}.expert_count"),
        experts_used=_number(first, f"{architecture}.expert_used_count"),
        chat_template=bool(template),
        tools_in_template="tools" in template,
        licence=first.text("general.license"),
        pooling=pooling,
    )


def _refuse_what_is_no_model(header: GgufHeader, architecture: str) -> None:
    if not architecture:
        raise ModelFileUnusable("The file doesn't say of which architecture it is.")
    kind = header.text("general.type")
    if kind not in ("", "model") or architecture == "clip":
        raise ModelFileUnusable(
            f"The file is no model but an addition to one ({kind or architecture}).",
            next_step="Get the model itself.",
        )
    if not _vocabulary(header):
        raise ModelFileUnusable(
            "The model has no tokenizer: no text could be given to it.",
            next_step="Get a GGUF file with a vocabulary.",
        )


def _refuse_missing_parts(headers: Sequence[GgufHeader]) -> None:
    parts = headers[0].number("split.count") or 1
    if parts != len(headers):
        raise ModelFileUnusable(
            f"The model lies in {parts} files, and {len(headers)} of them came.",
            next_step="Get all of its files.",
        )
    expected = headers[0].number("split.tensors.count")
    found = sum(len(header.tensors) for header in headers)
    if found == 0 or (expected and expected != found):
        raise ModelFileUnusable(f"The model should have {expected or 'some'} tensors and has {found}.")
    numbers = [header.number("split.no") for header in headers]
    if parts > 1 and numbers != list(range(parts)):
        raise ModelFileUnusable("The model's files are not the parts of one model, in their order.")


def _refuse_what_tensors_contradict(
    header: GgufHeader, architecture: str, tensors: Sequence[Tensor], layers: int
) -> None:
    """An engine that believes the head alone would load it, and answer nonsense."""
    named = {int(found[1]) + 1 for tensor in tensors if (found := _LAYER.match(tensor.name))}
    # those that predict further tokens may be left out
    further = _number(header, f"{architecture}.nextn_predict_layers")
    if named and not layers - further <= max(named) <= layers:
        raise ModelFileUnusable(f"The model claims {layers} layers, and has tensors of {max(named)}.")
    width = _number(header, f"{architecture}.embedding_length")
    table = next((tensor for tensor in tensors if tensor.name == "token_embd.weight"), None)
    if width and table and table.shape[0] != width:
        raise ModelFileUnusable(
            f"The model claims a width of {width}, and its embeddings have {table.shape[0]}."
        )


def _refuse_more_cache_than_is_made(tensors: Sequence[Tensor], kv_heads: Sequence[int], length: int) -> None:
    """Nothing has room for such a model, and no plan should reckon with it."""
    made: dict[int, int] = {}
    for tensor in tensors:
        if found := _MAKES_CACHE.fullmatch(tensor.name):
            made[int(found[1])] = max(made.get(int(found[1]), 0), tensor.shape[-1])
    for layer, heads in enumerate(kv_heads):
        if layer in made and heads * length > made[layer]:
            raise ModelFileUnusable(
                f"The model claims {heads} KV heads of {length} values, and its weights make {made[layer]}."
            )


def _has_plain_positions(header: GgufHeader, architecture: str) -> bool:
    """Besides the tensors rope_freqs and rope_factors_*, which stretch them by themselves."""
    return header.text(f"{architecture}.rope.scaling.type") in ("", "none")


def _number(header: GgufHeader, key: str) -> int:
    """Raises ModelFileUnusable below 0 and for what no memory could hold."""
    found = header.number(key)
    if not 0 <= found < 2**40:
        raise ModelFileUnusable(f"The model claims {key} = {found}.")
    return found


def _per_layer(header: GgufHeader, key: str) -> tuple[int, ...]:
    value = header.metadata.get(key)
    values = value.values if isinstance(value, Array) else ()
    found = tuple(each for each in values if isinstance(each, int))
    if any(not 0 <= each < 2**32 for each in found):
        raise ModelFileUnusable(f"The model claims {key} = {found}.")
    return found


def _largest(header: GgufHeader, key: str) -> int:
    return max(_per_layer(header, key), default=0) or _number(header, key)


def _heads(header: GgufHeader, architecture: str) -> int:
    return _largest(header, f"{architecture}.attention.head_count")


def _kv_heads(header: GgufHeader, architecture: str, layers: int, heads: int) -> tuple[int, ...]:
    key = f"{architecture}.attention.head_count_kv"
    given = _per_layer(header, key)
    if given:
        if len(given) != layers:
            raise ModelFileUnusable(f"The model has {layers} layers and says {len(given)} times {key}.")
        return given
    each = _number(header, key) or heads
    interval = _number(header, f"{architecture}.full_attention_interval")
    # the others remember by a state of fixed size
    return tuple(each if not interval or (layer + 1) % interval == 0 else 0 for layer in range(layers))


def _state_bytes(header: GgufHeader, architecture: str, layers: int) -> int:
    kernel, inner, state, groups = (
        _number(header, f"{architecture}.ssm.{name}")
        for name in ("conv_kernel", "inner_size", "state_size", "group_count")
    )
    interval = _number(header, f"{architecture}.full_attention_interval")
    recurrent = layers - layers // interval if interval else layers
    values = max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner
    return recurrent * values * _STATE_VALUE_BYTES


def _vocabulary(header: GgufHeader) -> int:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    return tokens.count if isinstance(tokens, Array) else 0


def _pooling(header: GgufHeader, architecture: str) -> str:
    key = f"{architecture}.pooling_type"
    given = header.number(key)
    return _POOLING.get(given, "mean" if architecture in _EMBEDDERS else "")


def _kind(headers: Sequence[GgufHeader], architecture: str, pooling: str) -> Kind:
    names = {tensor.name for header in headers for tensor in header.tensors}
    if pooling == "rank" or names & {"cls.weight", "cls.output.weight"}:
        return Kind.RERANK
    return Kind.EMBEDDINGS if pooling or architecture in _EMBEDDERS else Kind.TEXT


def _quantisation(headers: Sequence[GgufHeader]) -> str:
    """As the file says, if most of its weights are of that family; else what most of them are."""
    by_type: Counter[str] = Counter()
    for header in headers:
        for tensor in header.tensors:
            by_type[tensor.type.name] += tensor.size_bytes
    most = by_type.most_common(1)[0][0]
    said = FILE_TYPES.get(headers[0].number("general.file_type"), "")
    return said if said and set(by_type) & _types_of(said) else most


def _types_of(said: str) -> set[str]:
    """The tensor types that a file of this name is made of: Q4_K_M has Q4_K."""
    mixed = {"IQ3_M": {"IQ3_S"}, "IQ3_XS": {"IQ3_S", "IQ3_XXS"}, "IQ2_M": {"IQ2_S"}, "IQ2_S": {"IQ2_XS"}}
    return {said, said.removesuffix("_S").removesuffix("_M").removesuffix("_L"), *mixed.get(said, ())}
