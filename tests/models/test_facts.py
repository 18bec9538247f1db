"""What a model says of itself, and what is refused: cut off, lying, or no model at all."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.engines.options import Kind
from appliance.models import ModelFileUnusable
from appliance.models.demo import DEMO_MODEL_PATH
from appliance.models.gguf_header import read_gguf_header
from appliance.models.reading import read_facts
from appliance.models.tensor_types import FILE_TYPES, TENSOR_TYPES


def test_the_tables_of_types_are_those_of_the_format() -> None:
    theirs = {int(kind): (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
    assert {number: tuple(kind) for number, kind in TENSOR_TYPES.items()} == theirs
    named = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    assert {number: name for number, name in named.items() if FILE_TYPES.get(number) != name} == {
        38: "MXFP4_MOE",
        1024: "GUESSED",
    }


def test_the_header_is_read_as_the_formats_own_library_reads_it(tiny_gguf: Path) -> None:
    ours, theirs = read_gguf_header(tiny_gguf), gguf.GGUFReader(tiny_gguf)
    assert [(each.name, each.shape, each.size_bytes) for each in ours.tensors] == [
        (each.name, tuple(int(width) for width in each.shape), int(each.n_bytes)) for each in theirs.tensors
    ]
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF.") and len(field.types) == 1:
            value = ours.metadata[key]
            assert value == field.contents() or isinstance(value, float)


def test_the_facts_of_a_real_model(tiny_gguf: Path) -> None:
    facts = read_facts({tiny_gguf.name: tiny_gguf})
    assert (facts.kind, facts.architecture, facts.name) == (Kind.TEXT, "qwen3", "Random tiny")
    assert (facts.layers, facts.kv_heads, facts.key_length, facts.value_length) == (2, (1, 1), 32, 32)
    assert (facts.context_tokens, facts.vocabulary, facts.quantisation) == (4096, 1024, "Q8_0")
    assert facts.chat_template and facts.tools_in_template
    reader = gguf.GGUFReader(tiny_gguf)
    assert facts.weights_bytes == sum(int(each.n_bytes) for each in reader.tensors)
    assert facts.parameters == sum(int(each.n_elements) for each in reader.tensors)


def test_the_demo_model_says_its_licence_and_that_it_has_no_tools() -> None:
    facts = read_facts({"demo.gguf": DEMO_MODEL_PATH})
    assert facts.licence == "Apache-2.0" and facts.chat_template and not facts.tools_in_template


def written(
    path: Path, architecture: str = "llama", more: Callable[[gguf.GGUFWriter], object] | None = None
) -> Path:
    """A small GGUF file of that architecture, as the format's own library writes it."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(8)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_token_list(["a", "b", "c"])
    if more:
        more(writer)
    writer.add_tensor("token_embd.weight", np.ones((3, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def facts_of(path: Path) -> Any:
    return read_facts({path.name: path})


def test_heads_of_each_layer_a_window_and_experts(tmp_path: Path) -> None:
    def more(writer: gguf.GGUFWriter) -> None:
        writer.add_head_count_kv([2, 0, 2, 0, 2, 0, 2, 0])
        writer.add_sliding_window(512)
        writer.add_expert_count(16)
        writer.add_expert_used_count(4)

    facts = facts_of(written(tmp_path / "a.gguf", more=more))
    assert facts.kv_heads == (2, 0, 2, 0, 2, 0, 2, 0) and facts.key_length == 16
    assert (facts.sliding_window, facts.experts, facts.experts_used) == (512, 16, 4)
    assert facts.kv_values_per_token == 4 * 2 * (16 + 16)


def test_positions_that_are_stretched(tmp_path: Path) -> None:
    def by_metadata(writer: gguf.GGUFWriter) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)

    def by_tensor(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", np.ones(8, np.float32))

    assert facts_of(written(tmp_path / "a.gguf")).has_plain_positions
    for name, more in (("b.gguf", by_metadata), ("c.gguf", by_tensor)):
        assert not facts_of(written(tmp_path / name, more=more)).has_plain_positions


def test_layers_that_remember_in_a_state(tmp_path: Path) -> None:
    """As Qwen3.5: every fourth layer has a cache, the others a state of fixed size."""

    def more(writer: gguf.GGUFWriter) -> None:
        writer.add_head_count_kv(2)
        writer.add_uint32("qwen35.full_attention_interval", 4)
        for name, value in (("conv_kernel", 4), ("inner_size", 128), ("state_size", 16), ("group_count", 2)):
            writer.add_uint32(f"qwen35.ssm.{name}", value)

    facts = facts_of(written(tmp_path / "a.gguf", "qwen35", more))
    assert facts.kv_heads == (0, 0, 0, 2, 0, 0, 0, 2)
    assert facts.state_bytes == 6 * (3 * (128 + 2 * 2 * 16) + 16 * 128) * 4


@pytest.mark.parametrize(
    ("architecture", "more", "kind", "pooling"),
    [
        ("bert", lambda writer: None, Kind.EMBEDDINGS, "mean"),
        ("bert", lambda writer: writer.add_pooling_type(gguf.PoolingType.CLS), Kind.EMBEDDINGS, "cls"),
        ("qwen3", lambda writer: writer.add_pooling_type(gguf.PoolingType.LAST), Kind.EMBEDDINGS, "last"),
        ("bert", lambda writer: writer.add_pooling_type(gguf.PoolingType.RANK), Kind.RERANK, "rank"),
        ("llama", lambda writer: None, Kind.TEXT, ""),
    ],
)
def test_what_a_model_is_for(
    tmp_path: Path, architecture: str, more: Callable[[gguf.GGUFWriter], object], kind: Kind, pooling: str
) -> None:
    facts = facts_of(written(tmp_path / "a.gguf", architecture, more))
    assert (facts.kind, facts.pooling) == (kind, pooling)


def test_a_model_in_parts_and_one_with_a_part_missing(tmp_path: Path) -> None:
    def part(number: int) -> Path:
        def more(writer: gguf.GGUFWriter) -> None:
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", 2)
            writer.add_int32("split.tensors.count", 2)

        return written(tmp_path / f"m-0000{number + 1}-of-00002.gguf", more=more)

    parts = {path.name: path for path in (part(0), part(1))}
    assert read_facts(parts).parameters == 2 * 3 * 64
    with pytest.raises(ModelFileUnusable, match="lies in 2 files, and 1 of them came"):
        facts_of(part(0))


def test_what_is_no_model(tmp_path: Path) -> None:
    projector = written(tmp_path / "mmproj.gguf", more=lambda w: w.add_type(gguf.GGUFType.MMPROJ))
    with pytest.raises(ModelFileUnusable, match="an addition to one"):
        facts_of(projector)
    without = written(tmp_path / "a.gguf")
    data = without.read_bytes().replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz")
    without.write_bytes(data)
    with pytest.raises(ModelFileUnusable, match="no tokenizer"):
        facts_of(without)
    (tmp_path / "text.gguf").write_text("hello, I am a text and longer than a head")
    with pytest.raises(ModelFileUnusable, match="is no GGUF file"):
        facts_of(tmp_path / "text.gguf")
    for names, told in ((["model.safetensors"], "Safetensors"), (["README.md"], "no model among")):
        with pytest.raises(ModelFileUnusable, match=told):
            read_facts({name: without for name in names})


@pytest.mark.parametrize("keep", [0, 3, 23, 24, 200, 0.3, 0.6, 0.9, -1])
def test_a_file_that_is_cut_off(tiny_gguf: Path, tmp_path: Path, keep: float) -> None:
    data = tiny_gguf.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(ModelFileUnusable, match=r"cut off|no GGUF"):
        facts_of(cut)


def lying(tiny: Path, tmp_path: Path, at: int, value: bytes) -> Path:
    data = bytearray(tiny.read_bytes())
    data[at : at + len(value)] = value
    path = tmp_path / "lie.gguf"
    path.write_bytes(data)
    return path


HUGE = struct.pack("<Q", 2**64 - 1)


def test_counts_that_no_file_could_have(tiny_gguf: Path, tmp_path: Path) -> None:
    for at in (8, 16):
        with pytest.raises(ModelFileUnusable, match="more than any model has"):
            facts_of(lying(tiny_gguf, tmp_path, at, HUGE))
    with pytest.raises(ModelFileUnusable, match="text of"):
        facts_of(lying(tiny_gguf, tmp_path, 24, HUGE))


@pytest.mark.parametrize(
    ("key", "lie", "sentence"),
    [
        ("qwen3.block_count", 5, "claims 5 layers, and has tensors of 4"),
        ("qwen3.block_count", 1, "claims 1 layers, and has tensors of 4"),
        ("qwen3.embedding_length", 64, "claims a width of 64"),
        ("qwen3.attention.head_count_kv", 2**31, "claims 2147483648 KV heads of 64 values, .* make 192"),
        ("qwen3.attention.key_length", 2**31, "claims 3 KV heads of 2147483648 values, .* make 192"),
        ("qwen3.attention.value_length", 2**31, "claims 3 KV heads of 2147483648 values, .* make 192"),
    ],
)
def test_a_head_that_the_tensors_contradict(tmp_path: Path, key: str, lie: int, sentence: str) -> None:
    data = bytearray(DEMO_MODEL_PATH.read_bytes())
    at = data.index(key.encode()) + len(key) + 4  # behind the type
    data[at : at + 4] = lie.to_bytes(4, "little")
    (tmp_path / "lie.gguf").write_bytes(data)
    with pytest.raises(ModelFileUnusable, match=sentence):
        read_facts({"lie.gguf": tmp_path / "lie.gguf"})


@pytest.mark.parametrize("weights", ["attn_k", "attn_qkv", "attn_kv_a_mqa"])
def test_more_kv_heads_than_the_weights_make(tmp_path: Path, weights: str) -> None:
    def with_heads(count: int, **lengths: int) -> Path:
        def more(writer: gguf.GGUFWriter) -> None:
            writer.add_head_count_kv(count)
            for name, length in lengths.items():
                writer.add_uint32(f"llama.attention.{name}", length)
            writer.add_tensor(f"blk.7.{weights}.weight", np.ones((32, 64), np.float32))

        return written(tmp_path / "a.gguf", more=more)

    assert facts_of(with_heads(2)).kv_heads == (2,) * 8
    with pytest.raises(ModelFileUnusable, match="claims 3 KV heads of 16 values, and its weights make 32"):
        facts_of(with_heads(3))
    # as Gemma 4: what has a window has shorter heads
    assert facts_of(with_heads(2, key_length=64, key_length_swa=16)).key_length == 64


def test_tensors_that_lie_about_their_place(tiny_gguf: Path, tmp_path: Path) -> None:
    name = b"blk.1.ffn_down.weight"
    begin = tiny_gguf.read_bytes().index(name) + len(name)
    shape, kind, offset = begin + 4, begin + 20, begin + 24
    for at, value, told in (
        (begin, struct.pack("<I", 200), "200 dimensions"),
        (shape, struct.pack("<Q", 33), "Q8_0 can't hold"),
        (shape, struct.pack("<Q", 0), "can't hold"),
        (shape + 8, HUGE, "cut off"),
        (kind, struct.pack("<I", 99), r"type \(99\)"),
        (offset, struct.pack("<Q", 2**62), "cut off"),
        (offset, struct.pack("<Q", 0), "where another one lies"),
        (offset, struct.pack("<Q", 7), "where another one lies"),
    ):
        with pytest.raises(ModelFileUnusable, match=told):
            facts_of(lying(tiny_gguf, tmp_path, at, value))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    at=st.integers(0, 24_000),
    value=st.binary(min_size=1, max_size=9) | st.sampled_from([HUGE, b"\xff" * 4, b"\0" * 8, b"\x08\0\0\0"]),
    cut=st.none() | st.integers(0, 60_000),
)
def test_whatever_is_changed_it_is_read_or_refused(
    tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory, at: int, value: bytes, cut: int | None
) -> None:
    """Never another error, never a reading past the end, never much memory."""
    data = bytearray(tiny_gguf.read_bytes())
    data[at : at + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.gguf"
    path.write_bytes(data[:cut])
    try:
        facts = facts_of(path)
    except ModelFileUnusable as refused:
        assert refused.sentence.endswith(".")
    else:
        assert facts.weights_bytes <= path.stat().st_size
