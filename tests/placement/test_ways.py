"""The ways that recorded machines can compute by, and where a model goes there."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.engines.options import Kind
from appliance.hardware import MachineFacts, read_profiles, recognise
from appliance.hardware.places import SHIPPED
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.conversion_source import Weights
from appliance.models.held import HeldModel
from appliance.models.reading import read_facts
from appliance.placement.contract import ModelNeed, NodeFacts, Placed, Wishes
from appliance.placement.history import History
from appliance.placement.needs import model_needs
from appliance.placement.options import Known, consider
from appliance.placement.planning import plan
from appliance.placement.ways import ways_of
from tests.models.tiny import tiny_openvino
from tests.placement.fleets import GIB, demand, model, node

MACHINES = Path(__file__).parents[1] / "hardware" / "machines"
PROFILES, _ = read_profiles([SHIPPED])


def recorded(machine: str, **changed: object) -> NodeFacts:
    facts = MachineFacts.model_validate_json((MACHINES / f"{machine}.json").read_text())
    facts = facts.model_copy(update=changed)
    return node(machine, *ways_of(facts, recognise(facts, PROFILES)))


def placed_on(where: NodeFacts, what: ModelNeed) -> Placed:
    [placed] = plan([where], [what], demand=[demand(what.name)]).on(where.id)
    return placed


def of_form(name: str, billions: float, form: str) -> ModelNeed:
    need = model(name, billions)
    return replace(need, files=(replace(need.files[0], format=form),))


@pytest.mark.parametrize(
    ("machine", "server", "own"),
    [
        ("a100-80gb-server", "adopted on vllm", "llama.cpp on cuda"),
        ("eight-h100-server", "adopted on vllm", "llama.cpp on cuda"),
        ("eight-b200-server", "adopted on vllm", "llama.cpp on cuda"),
        ("mac-studio-m2-ultra", "adopted on mlx", "llama.cpp on metal"),
    ],
)
def test_a_server_of_somebody_else_takes_no_device_from_our_own_engine(
    machine: str, server: str, own: str
) -> None:
    where = recorded(machine)
    assert {server, own} <= {way.name for way in where.ways}
    assert placed_on(where, of_form("qwen3-8b", 8, "gguf:Q4_K_M")).way.name == own


NO_DRIVER_FOR_GRAPHICS = frozenset({"llama.cpp/cpu", "openvino/cpu", "openvino/npu"})


def converted(weights: Weights) -> ModelNeed:
    """A real, tiny model by the real converter; its numbers are those of one of 8 billion weights."""
    folder = tiny_openvino(Kind.TEXT, weights)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    facts = read_facts(files)
    large = facts.model_copy(update={"parameters": 8_000_000_000, "weights_bytes": int(4.5 * GIB)})
    bundle = Bundle(format=ModelFormat.OPENVINO, files=(BundleFile(path="a", size_bytes=1, sha256="0" * 64),))
    [need] = model_needs([HeldModel("office", bundle, large, "", "", "", None, None, 0.0)])
    return need


@pytest.mark.timeout(600)
@pytest.mark.parametrize("weights", [Weights.INT4_CHANNEL_WISE, Weights.INT4_GROUPS])
@pytest.mark.parametrize("machine", ["lunar-lake-laptop", "panther-lake-laptop"])
def test_what_the_converter_makes_for_npus_goes_to_one(machine: str, weights: Weights) -> None:
    need = converted(weights)
    where = recorded(machine, engines=NO_DRIVER_FOR_GRAPHICS)
    placed = placed_on(where, need)
    assert (placed.way.name, need.files[0].format) == ("openvino on NPU", f"openvino:{weights}")
    considered = consider(recorded(machine), need, [], Known(History(), Wishes(), []))
    assert considered.best and considered.best.way.name == "openvino on GPU"
    assert any(why.startswith("openvino on NPU gives") for why in considered.why_not), "the slower of both"


def test_other_weights_of_four_bits_never_go_to_an_npu() -> None:
    where = recorded("lunar-lake-laptop", engines=NO_DRIVER_FOR_GRAPHICS)
    considered = consider(where, of_form("office", 8, "openvino:int4"), [], Known(History(), Wishes(), []))
    assert considered.best and considered.best.way.device == "CPU"
    assert any(why.startswith("openvino on NPU runs openvino:int4-cw") for why in considered.why_not)
