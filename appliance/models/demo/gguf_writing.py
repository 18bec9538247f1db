"""Writes the trained network as a Q8_0 GGUF file of architecture qwen3, whole or not at all."""

from pathlib import Path

import gguf
import numpy as np

from appliance.models.demo.chat_format import CHAT_TEMPLATE, SPECIAL_TOKENS
from appliance.models.demo.network import Parameters, Shape
from appliance.models.demo.tokenizer import Vocabulary

MODEL_NAME = "Cellule demo"
DESCRIPTION = (
    "Small demonstration model of Cellule Appliance, French and English: answers about the appliance and "
    "common office questions, repeats text, and says so when it does not know. Not a general assistant."
)


def write_gguf(path: Path, parameters: Parameters, shape: Shape, vocabulary: Vocabulary) -> None:
    """Replaces `path` in one step, so that an engine starting meanwhile sees the old file or the new one."""
    unfinished = path.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, "qwen3")
    _describe(writer, shape)
    _add_vocabulary(writer, vocabulary, shape)
    for name, tensor in parameters.items():
        array = tensor.detach().float().numpy().astype(np.float32)
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(path)


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name(MODEL_NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license("Apache-2.0")
    writer.add_languages(["en", "fr"])
    # its answers are known by heart: drawing among tokens could only spoil them
    writer.add_sampling_temp(0.0)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_layer_norm_rms_eps(shape.rms_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary, shape: Shape) -> None:
    tokens = [*vocabulary.tokens, *(f"[unused{i}]" for i in range(len(vocabulary.tokens), shape.vocabulary))]
    kinds = [gguf.TokenType.CONTROL if token in SPECIAL_TOKENS else gguf.TokenType.NORMAL for token in tokens]
    for unused in range(len(vocabulary.tokens), shape.vocabulary):
        kinds[unused] = gguf.TokenType.UNUSED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
