"""The folder of an OpenVINO model: a real one, and what can be wrong with it."""

import json
import re
import shutil
from importlib import import_module
from math import prod
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.engines.options import Kind
from appliance.models import ModelFileUnusable
from appliance.models.demo import DEMO_MODEL_PATH
from appliance.models.facts import ModelFacts
from appliance.models.reading import read_facts


def write_ir(folder: Path) -> None:
    """The smallest graph with weights, and tokenizers of the same shape."""
    folder.mkdir(parents=True)
    constant = '<data element_type="f32" shape="32,64" offset="0" size="8192" />'
    layer = f'<layer id="0" name="w" type="Const" version="opset1">{constant}</layer>'
    for name in ("model", "tokenizer", "detokenizer"):
        (folder / f"openvino_{name}.xml").write_text(f"<net><layers>{layer}</layers></net>")
        (folder / f"openvino_{name}.bin").write_bytes(name.encode() + b"\0" * 8192)


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as OpenVINO GenAI itself writes it."""
    folder = tmp_path_factory.mktemp("ir")
    shutil.copy(DEMO_MODEL_PATH, folder / "demo.gguf")
    import_module("openvino_genai").LLMPipeline(str(folder / "demo.gguf"), "CPU", enable_save_ov_model=True)
    (folder / "demo.gguf").unlink()
    return folder


@pytest.fixture
def ir(converted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "ir"))


def facts_of(folder: Path) -> ModelFacts:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return read_facts(files)


def test_the_facts_come_from_the_graph_itself(ir: Path) -> None:
    facts, gguf = facts_of(ir), read_facts({"demo.gguf": DEMO_MODEL_PATH})
    assert (facts.kind, facts.quantisation) == (Kind.TEXT, "int8")
    assert (facts.layers, facts.kv_heads) == (gguf.layers, gguf.kv_heads)
    assert (facts.key_length, facts.value_length) == (gguf.key_length, gguf.value_length)
    assert abs(facts.parameters / gguf.parameters - 1) < 0.01
    assert facts.weights_bytes == (ir / "openvino_model.bin").stat().st_size
    assert facts.chat_template and not facts.tools_in_template


@pytest.mark.parametrize(
    ("constants", "quantisation"),
    [
        ({"i4": "128,256"}, "int4-cw"),
        ({"i4": "128,2,128"}, "int4-gq"),
        ({"nf4": "128,256"}, "nf4-cw"),
        ({"i4": "128,4,64"}, "int4"),
        ({"u4": "128,256"}, "int4"),
        ({"i4": "128,256", "u4": "128,64"}, "int4"),
    ],
)
def test_four_bits_that_an_npu_takes_are_told_from_the_weights(
    tmp_path: Path, constants: dict[str, str], quantisation: str
) -> None:
    write_ir(tmp_path / "ir")
    xml = tmp_path / "ir" / "openvino_model.xml"
    embeddings = '<data element_type="u8" shape="64,64" offset="0" size="4096" />'
    data = []
    for kind, shape in constants.items():
        size = prod(map(int, shape.split(","))) // 2
        data += [f'<data element_type="{kind}" shape="{shape}" offset="0" size="{size}" />'] * 2

    def graph(*constants: str) -> str:
        layers = (f'<layer type="Const" version="opset1">{each}</layer>' for each in constants)
        return f"<net><layers>{''.join(layers)}</layers></net>"

    (tmp_path / "ir" / "openvino_model.bin").write_bytes(bytes(16384))
    xml.write_text(graph(*data, embeddings, embeddings))
    assert facts_of(tmp_path / "ir").quantisation == quantisation
    xml.write_text(graph(*data, *[embeddings] * 5))
    assert facts_of(tmp_path / "ir").quantisation == quantisation.partition("-")[0]


def test_a_configuration_adds_what_the_graph_does_not_say(ir: Path) -> None:
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "max_position_embeddings": 4096,
        "hidden_size": 192,
        "vocab_size": 2560,
        "num_attention_heads": True,
        "num_experts": -1,
    }
    (ir / "config.json").write_text(json.dumps(config))
    facts = facts_of(ir)
    assert (facts.architecture, facts.context_tokens, facts.embedding_width) == ("qwen3", 4096, 192)
    assert (facts.heads, facts.experts) == (0, 0), "what is no number is not taken for one"


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("BertModel", Kind.EMBEDDINGS),
        ("XLMRobertaForSequenceClassification", Kind.RERANK),
        ("Qwen3ForCausalLM", Kind.TEXT),
    ],
)
def test_what_a_model_is_for(ir: Path, architecture: str, kind: Kind) -> None:
    (ir / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    assert facts_of(ir).kind is kind


def test_speech_and_pictures_are_known_by_their_parts(ir: Path) -> None:
    for name in ("encoder", "decoder"):
        for suffix in ("xml", "bin"):
            shutil.copy(ir / f"openvino_model.{suffix}", ir / f"openvino_{name}_model.{suffix}")
    facts = facts_of(ir)
    assert facts.kind is Kind.TRANSCRIPTION
    assert facts.weights_bytes == 2 * (ir / "openvino_model.bin").stat().st_size
    pictures = ir.with_name("pictures")
    for part in ("unet", "vae_decoder"):
        shutil.copytree(ir, pictures / part)
    shutil.copytree(ir, pictures / "tokenizer")
    (pictures / "tokenizer" / "openvino_model.xml").unlink()
    (pictures / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    facts = facts_of(pictures)
    assert (facts.kind, facts.architecture) == (Kind.IMAGES, "StableDiffusionPipeline")


@pytest.mark.parametrize(
    "missing",
    ["openvino_tokenizer.xml", "openvino_tokenizer.bin", "openvino_detokenizer.xml", "openvino_model.bin"],
)
def test_a_part_that_is_missing(ir: Path, missing: str) -> None:
    (ir / missing).unlink()
    with pytest.raises(
        ModelFileUnusable, match="no tokenizer" if "tokenizer" in missing else "is missing"
    ) as no:
        facts_of(ir)
    assert missing in no.value.sentence


def test_weights_that_are_cut_off(ir: Path) -> None:
    weights = ir / "openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelFileUnusable, match="cut off"):
        facts_of(ir)
    tokens = ir / "openvino_tokenizer.bin"
    tokens.write_bytes(b"")
    with pytest.raises(ModelFileUnusable):
        facts_of(ir)


def test_a_graph_that_lies_or_is_none(ir: Path) -> None:
    xml = ir / "openvino_model.xml"
    text = xml.read_text()
    constant = re.search(r'shape="[\d, ]+" offset="\d+" size="\d{5,}"', text)
    assert constant
    wrong = re.sub(r'size="\d+"', 'size="4096"', constant[0])
    for changed, told in (
        (text.replace(constant[0], wrong), "has a constant of 4,096 bytes"),
        (text.replace('offset="0"', 'offset="-1"', 1), "cut off"),
        (text.replace('offset="0"', 'offset="x"', 1), "is no OpenVINO model"),
        (text[: len(text) // 2], "is no OpenVINO model"),
        ("<html></html>", "is no OpenVINO model"),
        ('<!DOCTYPE net [<!ENTITY a "aaaa">]>' + text, "has definitions"),
    ):
        xml.write_text(changed)
        with pytest.raises(ModelFileUnusable, match=told):
            facts_of(ir)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    at=st.integers(0, 260),
    value=st.text(alphabet='0123456789-?,"<>=/ xf', min_size=1, max_size=8),
    cut=st.none() | st.integers(0, 9000),
)
def test_whatever_is_changed_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: str, cut: int | None
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-ir"
    shutil.rmtree(folder, ignore_errors=True)
    write_ir(folder)
    xml, weights = folder / "openvino_model.xml", folder / "openvino_model.bin"
    text = xml.read_text()
    xml.write_text(text[:at] + value + text[at + len(value) :])
    weights.write_bytes(weights.read_bytes()[:cut])
    try:
        facts = facts_of(folder)
    except ModelFileUnusable as refused:
        assert refused.sentence.endswith(".")
    else:
        assert facts.weights_bytes == weights.stat().st_size


@pytest.mark.parametrize("config", ["[]", "{", "\xff", "[" * 100_000])
def test_a_configuration_that_is_none(ir: Path, config: str) -> None:
    (ir / "config.json").write_bytes(config.encode("latin-1"))
    with pytest.raises(ModelFileUnusable, match=r"config\.json"):
        facts_of(ir)
