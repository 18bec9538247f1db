"""A model of MiniLM's shape with random weights, for OpenVINO and as GGUF: speed is measured on it.

The shape: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (6 layers, 384 wide, 512 positions).
Each letter is a token, at the beginning of a word or inside of it.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from appliance.models.conversion_source import Weights
from appliance.models.converting import Conversion, convert
from tests.models.tiny import CACHE, converter

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True)
class BertShape:
    layers: int = 6
    width: int = 384
    feed_forward: int = 1536
    heads: int = 12
    positions: int = 512
    ranks: bool = False
    """With a classifier that gives one score."""


def openvino_model() -> Path:
    """The folder, converted at the first call."""
    folder = CACHE / "models" / "minilm-openvino-v1"
    if not folder.exists():
        import subprocess

        source = CACHE / "models" / f"minilm-source-{threading.get_ident()}"
        program = Path(__file__).with_name("minilm_source.py")
        subprocess.run([converter(), program, source], check=True)
        convert(Conversion(source, folder, Weights.FP16, converter()), lambda _progress: None, lambda: None)
    return folder


def gguf_model() -> Path:
    """The same shape as a GGUF file of 16-bit floats."""
    path = CACHE / "models" / "minilm-v1-f16.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        write_bert(unfinished, BertShape())
        unfinished.rename(path)
    return path


def write_bert(path: Path, shape: BertShape, seed: int = 0) -> None:
    """A GGUF file of the architecture bert, with random weights of `seed`."""
    tokens = [*CONTROL, *("▁" + letter for letter in LETTERS), *LETTERS]
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("Random BERT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.positions)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    pooling = gguf.PoolingType.RANK if shape.ranks else gguf.PoolingType.MEAN
    writer.add_pooling_type(pooling)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    control = len(CONTROL)
    writer.add_token_types(
        [gguf.TokenType.CONTROL] * control + [gguf.TokenType.NORMAL] * (len(tokens) - control)
    )
    writer.add_token_type_count(2)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    _add_weights(writer, shape, len(tokens), seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_weights(writer: gguf.GGUFWriter, shape: BertShape, vocabulary: int, seed: int) -> None:
    random = np.random.default_rng(seed)

    def matrix(name: str, rows: int, columns: int, bias: bool = True, kind: type = np.float16) -> None:
        weights: np.ndarray = (random.standard_normal((rows, columns)) * 0.2).astype(kind)
        writer.add_tensor(f"{name}.weight", weights)
        if bias:
            writer.add_tensor(f"{name}.bias", np.zeros(rows, np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(shape.width, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(shape.width, np.float32))

    matrix("token_embd", vocabulary, shape.width, bias=False)
    matrix("position_embd", shape.positions, shape.width, bias=False, kind=np.float32)
    matrix("token_types", 2, shape.width, bias=False, kind=np.float32)  # llama.cpp adds these as they are
    norm("token_embd_norm")
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{block}.{part}", shape.width, shape.width)
        norm(f"{block}.attn_output_norm")
        matrix(f"{block}.ffn_up", shape.feed_forward, shape.width)
        matrix(f"{block}.ffn_down", shape.width, shape.feed_forward)
        norm(f"{block}.layer_output_norm")
    if shape.ranks:
        matrix("cls", shape.width, shape.width)
        matrix("cls.output", 1, shape.width)
