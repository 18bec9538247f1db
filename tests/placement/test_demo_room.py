"""The box's demo is always there, and its memory is nobody else's."""

from appliance.engines.options import Kind
from appliance.placement.contract import Running
from appliance.placement.demo_room import beside_demo
from appliance.placement.planning import plan
from appliance.settings import BOX_NODE
from tests.placement.fleets import DEMO, GIB, LLAMA, cpu, gpu, model, node

BOX = node(BOX_NODE, cpu(6), gpu(6), is_box=True)
SAYS = Running(BOX_NODE, DEMO.name, "demo", LLAMA, "CPU", 8, 4096, memory_bytes=GIB)


def test_it_is_taken_from_the_processor_s_memory_of_the_box_alone() -> None:
    station = node("station", cpu(6))
    box, other = beside_demo([BOX, station], [DEMO], [SAYS])
    assert [way.memory_bytes for way in box.ways] == [5 * GIB, 6 * GIB] and other == station
    (box,) = beside_demo([BOX], [DEMO], [])
    assert 5 * GIB < box.ways[0].memory_bytes < 6 * GIB, "also before the demo has said anything"


def test_what_fits_only_without_it_is_not_placed_beside_it() -> None:
    embedder = model("embedder", 1, kind=Kind.EMBEDDINGS)
    (alone,) = plan([node(BOX_NODE, cpu(64), is_box=True)], [embedder]).placed
    tight = node(BOX_NODE, cpu((alone.memory_bytes + GIB / 2) / GIB), is_box=True)
    assert plan([tight], [embedder]).placed
    assert not plan(beside_demo([tight], [DEMO], [SAYS]), [embedder]).placed


def test_it_is_not_counted_once_more_by_the_plan() -> None:
    station = node("station", cpu(6))
    placed = plan(beside_demo([BOX, station], [DEMO], [SAYS]), [DEMO]).placed
    assert [each.node for each in placed] == ["station"]
