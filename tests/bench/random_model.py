"""GGUF files of qwen3 shape with seeded random weights and a small but real byte-level BPE tokenizer.

They say nothing sensible; they cost what a trained model of that size costs, so speed is measured on
them, and whatever must hold for any model (sampling, cutting, slots, grammar) is tested on them.
"""

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import gguf
import numpy as np

CHAT_TEMPLATE = """\
{% if tools %}
<|im_start|>system
Tools:
{% for tool in tools %}
{{ tool | tojson }}
{% endfor %}
Call one with <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>
{% endif %}
{% for message in messages %}
<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<tool_call>{{ call.function | tojson }}</tool_call>
{%- endfor %}
<|im_end|>
{% endfor %}
<|im_start|>assistant
"""
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a qwen3 decoder with tied embeddings."""

    name: str
    vocabulary: int
    width: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int = 64
    context_tokens: int = 8192


BENCH = Shape("Random 235M", 32768, 1024, 3072, 16, 16, 8)
TINY = Shape("Random tiny", 1024, 64, 128, 2, 2, 1, head_width=32, context_tokens=4096)


def random_model(folder: Path, shape: Shape) -> Path:
    """The Q8_0 file of `shape` in `folder`, written at the first call; the same bytes at every call."""
    path = folder / f"{shape.name.lower().replace(' ', '-')}-v2-q8_0.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        _write(unfinished, shape)
        unfinished.rename(path)
    return path


def _vocabulary(size: int) -> tuple[list[str], list[str]]:
    """Tokens and merges: every byte, then pairs, then triples of common letters, until `size`."""
    byte_names = [_byte_name(value) for value in range(256)]
    tokens, merges = [*CONTROL_TOKENS, *byte_names], []
    letters = [_byte_name(value) for value in b" etaoinshrdlucmfwypvbgkqjxzETAOINSHRDLUCMFW0123456789.,"]
    pairs = [(a, b) for a, b in product(letters, letters)]
    triples = [(a + b, c) for (a, b), c in product(pairs, letters)]
    for left, right in [*pairs, *triples][: size - len(tokens)]:
        tokens.append(left + right)
        merges.append(f"{left} {right}")
    return tokens, merges


def _byte_name(value: int) -> str:
    """GPT-2's printable stand-in for a byte: itself where printable, else the n-th of U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if value in printable:
        return chr(value)
    return chr(256 + [other for other in range(256) if other not in printable].index(value))


def _write(path: Path, shape: Shape) -> None:
    tokens, merges = _vocabulary(shape.vocabulary)
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name(shape.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    control = len(CONTROL_TOKENS)
    writer.add_token_types(
        [gguf.TokenType.CONTROL] * control + [gguf.TokenType.NORMAL] * (len(tokens) - control)
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    _add_weights(writer, shape, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_weights(writer: gguf.GGUFWriter, shape: Shape, vocabulary: int) -> None:
    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        weights = random.standard_normal((rows, columns), dtype=np.float32) * 0.03
        quantized = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def ones(name: str, width: int) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))

    attention = shape.heads * shape.head_width
    attention_kv = shape.kv_heads * shape.head_width
    matrix("token_embd", vocabulary, shape.width)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        matrix(f"{block}.attn_q", attention, shape.width)
        matrix(f"{block}.attn_k", attention_kv, shape.width)
        matrix(f"{block}.attn_v", attention_kv, shape.width)
        matrix(f"{block}.attn_output", shape.width, attention)
        matrix(f"{block}.ffn_gate", shape.feed_forward, shape.width)
        matrix(f"{block}.ffn_up", shape.feed_forward, shape.width)
        matrix(f"{block}.ffn_down", shape.width, shape.feed_forward)
        ones(f"{block}.attn_norm", shape.width)
        ones(f"{block}.ffn_norm", shape.width)
        ones(f"{block}.attn_q_norm", shape.head_width)
        ones(f"{block}.attn_k_norm", shape.head_width)
    ones("output_norm", shape.width)
