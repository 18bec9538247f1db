"""The need of memory against what llama.cpp really allocates, and its arithmetic."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engines.options import Kind
from appliance.hardware import MachineFacts, keep_hardware
from appliance.models.bundle import ModelFormat
from appliance.models.conversion_source import Weights
from appliance.models.facts import ModelFacts
from appliance.models.fitting import (
    LargerThanMemory,
    Room,
    Taken,
    node_rooms,
    refuse_too_large,
    taken_by,
)
from appliance.models.memory import memory_need, told_bytes
from appliance.models.reading import read_facts
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.bench.random_model import TINY, Shape, random_model
from tests.jobs.test_daemon import add_worker

MACHINES = Path(__file__).parents[1] / "hardware" / "machines"
MIB = 2**20
SHAPES = (
    TINY,
    Shape("Wide head", 32768, 128, 512, 2, 4, 4),
    Shape("Wide layer", 2048, 512, 4096, 3, 8, 2),
    Shape("Deep", 1024, 256, 512, 12, 8, 4),
)
SIZES = ((1024, 1), (4096, 2), (2048, 8))
TOLERANCE, TOLERANCE_MIB = 0.02, 1.0

ALLOCATE = """
import ctypes, json, re, sys
from appliance.engines.llama import llama
said = []
@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def hear(level, text, _):
    said.append(text.decode(errors="replace"))
llama.llama_log_set(hear, None)
model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
sizes = []
for context, slots in json.loads(sys.argv[2]):
    said.clear()
    parameters = llama.llama_context_default_params()
    parameters.n_ctx, parameters.n_seq_max, parameters.kv_unified = context * slots, slots, True
    parameters.n_batch = parameters.n_ubatch = 512
    parameters.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    llama.llama_free(llama.llama_init_from_model(model, parameters))
    found = re.findall(r"(KV|compute) buffer size = +([0-9.]+) MiB", "".join(said))
    sizes.append({kind: float(size) for kind, size in found})
print(json.dumps(sizes))
"""


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_cache_and_compute_buffer_are_what_llama_cpp_allocates(shape: Shape, tmp_path: Path) -> None:
    """Within 2 % or 1 MiB; of the engine's own settings (a batch of 512, one cache for all sequences)."""
    path = random_model(tmp_path, shape)
    facts = read_facts({path.name: path})
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE, path, json.dumps(SIZES)], capture_output=True, text=True, check=True
    )
    for (context, slots), found in zip(SIZES, json.loads(done.stdout), strict=True):
        need = memory_need(facts, context, slots)
        assert need.cache_bytes / MIB == pytest.approx(found["KV"], abs=0.01)
        assert need.compute_bytes / MIB == pytest.approx(found["compute"], rel=TOLERANCE, abs=TOLERANCE_MIB)
    assert facts.weights_bytes < path.stat().st_size < facts.weights_bytes + MIB


FACTS = ModelFacts(
    format=ModelFormat.GGUF,
    kind=Kind.TEXT,
    architecture="qwen3",
    parameters=8_190_000_000,
    quantisation="Q4_K_M",
    weights_bytes=5_030_000_000,
    layers=36,
    heads=32,
    kv_heads=(8,) * 36,
    key_length=128,
    value_length=128,
    embedding_width=4096,
    feed_forward_width=12288,
    context_tokens=40960,
    vocabulary=151936,
)


def test_the_arithmetic_can_be_followed() -> None:
    need = memory_need(FACTS, 8192, 4)
    assert need.cache_bytes == 36 * 8 * (128 + 128) * 2 * 8192 * 4
    assert need.total_bytes == need.weights_bytes + need.cache_bytes + need.compute_bytes
    weights, cache, _, total = need.arithmetic
    assert weights == "Weights: 8.19 billion parameters as Q4_K_M are 5.03 GB."
    assert "36 layers with 288 heads" in cache and "147,456 bytes for a token" in cache and "4.83 GB" in cache
    assert total == f"Together {told_bytes(need.total_bytes)}."


def test_half_the_bits_are_half_the_cache_and_0_tokens_are_as_trained() -> None:
    whole = memory_need(FACTS, 0, 1)
    assert whole.cache_bytes == memory_need(FACTS, 40960, 1).cache_bytes
    assert memory_need(FACTS, 0, 1, kv_bits=8).cache_bytes == whole.cache_bytes // 2


def test_a_state_does_not_grow_with_the_text_and_an_embedder_has_no_cache() -> None:
    hybrid = FACTS.model_copy(update={"kv_heads": (0, 0, 0, 8) * 9, "state_bytes": 50_000_000})
    short, long = memory_need(hybrid, 1024, 2), memory_need(hybrid, 32768, 2)
    assert (long.cache_bytes - 100_000_000) == 32 * (short.cache_bytes - 100_000_000)
    assert "2 × 50,000,000 bytes are 100 MB" in " ".join(long.arithmetic)
    assert memory_need(FACTS.model_copy(update={"kind": Kind.EMBEDDINGS}), 512, 1).cache_bytes == 0


def test_the_room_of_a_node_is_what_its_profile_says(settings: Settings) -> None:
    station = MachineFacts.model_validate_json((MACHINES / "rtx-4090-pc.json").read_text())
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        for name, state in (("gamer", "approved"), ("office", "approved"), ("former", "revoked")):
            add_worker(settings, name, state, None)
        facts = {"name": "office", "memory_bytes": 16 * 10**9}
        db.execute("UPDATE workers SET facts = ?", [json.dumps(facts)])
        keep_hardware(activity, "gamer", station, 1.0)
        rooms = {room.node: room.room_bytes for room in node_rooms(settings, db)}
    assert set(rooms) == {"box", "gamer", "office"}
    assert rooms["office"] == 8 * 10**9
    assert 18 * 10**9 < rooms["gamer"] < 26 * 10**9, "of the card's 24 GB, not of the PC's memory"


def test_a_model_that_no_node_could_load_is_refused_with_the_arithmetic() -> None:
    rooms = [Room("box", 6_000_000_000), Room("cad-station", 20_000_000_000)]
    refuse_too_large(20_000_000_000, rooms)
    refuse_too_large(10**12, [])
    with pytest.raises(LargerThanMemory) as refused:
        refuse_too_large(26_000_000_000, rooms)
    for part in ("26 GB", "20 GB (cad-station)", "6 GB are missing"):
        assert part in refused.value.sentence


def test_what_must_be_converted_is_judged_by_what_it_becomes() -> None:
    sizes = {"a.safetensors": 10 * 10**9, "b.safetensors": 6 * 10**9, "config.json": 1000}
    taken = taken_by(sizes, Weights.INT4)
    assert taken.model_bytes == 5_600_000_000, "8 billion weights of 16 bits each, at 0.7 bytes"
    assert 37 * 10**9 < taken.disk_bytes < 38 * 10**9, "as it came, as 16-bit floats, and as int4"
    assert taken_by(sizes, Weights.INT4, parameters=4 * 10**9).model_bytes == 2_800_000_000
    assert taken_by({"m.gguf": 7, "README.md": 1}, Weights.INT4) == Taken(8, 8)
    refuse_too_large(taken.model_bytes, [Room("box", 6 * 10**9)], taken.weights)
    with pytest.raises(LargerThanMemory, match=r"Converted to int4.* about 5\.6 GB"):
        refuse_too_large(taken.model_bytes, [Room("box", 5 * 10**9)], taken.weights)
