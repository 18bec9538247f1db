"""From the folder of an OpenVINO model to its facts: its kind by its parts, what it says in config.json.

Each kind has its parts, and without all of them no engine could start. What can be read from the graph itself
(weights, cache) is; config.json only adds to it.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.engines.options import Kind
from appliance.models.bundle import ModelFormat
from appliance.models.facts import ModelFacts
from appliance.models.gguf_header import ModelFileUnusable
from appliance.models.openvino_graph import Graph, read_chat_template, read_graph

_LARGEST_CONFIG_BYTES = 16 * 2**20
_TOKENIZER = ("openvino_tokenizer.xml", "openvino_tokenizer.bin")
_DETOKENIZER = ("openvino_detokenizer.xml", "openvino_detokenizer.bin")
_CACHE = re.compile(r"past_key_values\.\d+\.(key|value)")
_GROUP_SIZE = 128
_LAYERS_OF_8_BITS = 2
"""The embeddings and the last layer, which the converter leaves at 8 bits."""
_NAMES = {"i4": "int4", "u4": "int4", "nf4": "nf4", "i8": "int8", "u8": "int8", "f16": "fp16", "f32": "fp32"}


@dataclass(frozen=True)
class _Parts:
    """`graphs` without .xml and .bin; the first is the one whose facts count."""

    kind: Kind
    graphs: tuple[str, ...]
    tokenizers: tuple[str, ...]


def openvino_facts(files: Mapping[str, Path]) -> ModelFacts:
    """`files` by their paths inside the model's folder. Raises ModelFileUnusable, OSError."""
    config = _json(files, "config.json")
    parts = _parts(files, config)
    _refuse_missing(files, parts)
    graphs = [read_graph(files[f"{name}.xml"], files[f"{name}.bin"]) for name in parts.graphs]
    by_type: Counter[str] = Counter()
    forms: Counter[tuple[str, int, int]] = Counter()
    for graph in graphs:
        by_type.update(graph.values_by_type)
        forms.update(graph.forms)
    if not by_type:
        raise ModelFileUnusable("The model has no weights.")
    template = _template(files)
    kv_heads, key_length, value_length = _cache(graphs[0])
    inner = config.get("text_config")
    text: dict[str, Any] = inner if isinstance(inner, dict) else config
    return ModelFacts(
        format=ModelFormat.OPENVINO,
        kind=parts.kind,
        architecture=_text(config, "model_type") or _text(_json(files, "model_index.json"), "_class_name"),
        name=_text(config, "_name_or_path"),
        parameters=sum(by_type.values()),
        quantisation=_quantisation(by_type, forms),
        weights_bytes=sum(files[f"{name}.bin"].stat().st_size for name in parts.graphs),
        layers=_number(text, "num_hidden_layers") or len(kv_heads),
        heads=_number(text, "num_attention_heads"),
        kv_heads=kv_heads,
        key_length=key_length,
        value_length=value_length,
        sliding_window=_number(text, "sliding_window"),
        embedding_width=_number(text, "hidden_size") or _number(text, "d_model"),
        feed_forward_width=_number(text, "intermediate_size"),
        context_tokens=_number(text, "max_position_embeddings") or _number(text, "max_target_positions"),
        vocabulary=_number(text, "vocab_size"),
        experts=_number(text, "num_experts") or _number(text, "num_local_experts"),
        experts_used=_number(text, "num_experts_per_tok"),
        chat_template=bool(template),
        tools_in_template="tools" in template,
        pooling="cls" if parts.kind is Kind.EMBEDDINGS else "rank" if parts.kind is Kind.RERANK else "",
    )


def _parts(files: Mapping[str, Path], config: dict[str, Any]) -> _Parts:
    if "model_index.json" in files:
        graphs = sorted(name.removesuffix(".xml") for name in files if name.endswith("/openvino_model.xml"))
        folders = sorted({name.split("/")[0] for name in files if name.startswith("tokenizer")})
        graphs.sort(key=lambda name: not name.startswith(("unet", "transformer")))
        return _Parts(
            Kind.IMAGES, tuple(graphs), tuple(f"{folder}/" for folder in folders) or ("tokenizer/",)
        )
    if "openvino_encoder_model.xml" in files:
        decoders = ("openvino_decoder_model", "openvino_encoder_model")
        past = ("openvino_decoder_with_past_model",)
        has_past = f"{past[0]}.xml" in files
        return _Parts(Kind.TRANSCRIPTION, decoders + (past if has_past else ()), ("",))
    if "openvino_model.xml" not in files:
        raise ModelFileUnusable(
            "There is no OpenVINO model in the folder.",
            next_step="It must have openvino_model.xml and openvino_model.bin.",
        )
    return _Parts(_kind_of_one(config), ("openvino_model",), ("",))


def _kind_of_one(config: dict[str, Any]) -> Kind:
    given = config.get("architectures")
    names = " ".join(name for name in given if isinstance(name, str)) if isinstance(given, list) else ""
    if "ForSequenceClassification" in names:
        return Kind.RERANK
    generates = not names or "ForCausalLM" in names or "ForConditionalGeneration" in names
    return Kind.TEXT if generates else Kind.EMBEDDINGS


def _refuse_missing(files: Mapping[str, Path], parts: _Parts) -> None:
    for graph in parts.graphs:
        for name in (f"{graph}.xml", f"{graph}.bin"):
            if name not in files:
                raise ModelFileUnusable(f"The model's {name} is missing.", next_step="Get all of its files.")
    speaks = parts.kind in (Kind.TEXT, Kind.TRANSCRIPTION)
    needs = (*_TOKENIZER, *_DETOKENIZER) if speaks else _TOKENIZER
    for folder in parts.tokenizers:
        missing = [f"{folder}{name}" for name in needs if f"{folder}{name}" not in files]
        if missing:
            raise ModelFileUnusable(
                f"The model has no tokenizer: {' and '.join(missing)} missing.",
                next_step="Convert it again with its tokenizer (optimum-cli export openvino).",
            )
        for name in needs:
            if name.endswith(".xml"):
                read_graph(files[f"{folder}{name}"], files[f"{folder}{name.removesuffix('.xml')}.bin"])


def _cache(graph: Graph) -> tuple[tuple[int, ...], int, int]:
    """Heads of each layer's cache, and how wide a key and a value are: as the graph keeps them."""
    by_part: dict[str, list[tuple[int, ...]]] = {"key": [], "value": []}
    for name, shape in graph.caches.items():
        if len(shape) == 4 and (part := _CACHE.match(name)):
            by_part[part[1]].append(shape)
    return (
        tuple(shape[1] for shape in by_part["key"]),
        max((shape[3] for shape in by_part["key"]), default=0),
        max((shape[3] for shape in by_part["value"]), default=0),
    )


def _template(files: Mapping[str, Path]) -> str:
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].read_text(errors="replace")
    given = _json(files, "tokenizer_config.json").get("chat_template")
    if given:
        return given if isinstance(given, str) else json.dumps(given)
    tokenizer = files.get(_TOKENIZER[0])
    return read_chat_template(tokenizer) if tokenizer else ""


def _json(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """Empty where there is no such file."""
    if name not in files:
        return {}
    if files[name].stat().st_size > _LARGEST_CONFIG_BYTES:
        raise ModelFileUnusable(f"{name} is larger than any model's.")
    try:
        read = json.loads(files[name].read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelFileUnusable(f"{name} is not JSON.") from error
    if not isinstance(read, dict):
        raise ModelFileUnusable(f"{name} is no JSON object.")
    return read


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return value[:200] if isinstance(value, str) else ""


def _quantisation(by_type: Counter[str], forms: Counter[tuple[str, int, int]]) -> str:
    """ "int4-cw" and "int4-gq" are the forms that an NPU takes, "int4" is any other of 4 bits.

    Signed integers of 4 bits are symmetric: they need no zero points. One scale for each row (channel-wise)
    leaves the weights in two dimensions, one for each group of 128 in three.
    https://docs.openvino.ai/2025/openvino-workflow-generative/inference-with-genai/inference-with-genai-on-npu.html
    """
    most = by_type.most_common(1)[0][0]
    name = _NAMES.get(most, most)
    small = {form for form in forms if form[0] in ("i4", "u4", "nf4")}
    left = sum(count for (kind, _, _), count in forms.items() if kind in ("i8", "u8"))
    if most not in ("i4", "nf4") or {kind for kind, _, _ in small} != {most} or left > _LAYERS_OF_8_BITS:
        return name
    if {dimensions for _, dimensions, _ in small} == {2}:
        return f"{name}-cw"
    if {(dimensions, width) for _, dimensions, width in small} == {(3, _GROUP_SIZE)}:
        return f"{name}-gq"
    return name
