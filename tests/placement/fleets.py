"""Nodes, models and hypothesis strategies for the placement tests."""

from dataclasses import replace

from hypothesis import strategies as st

from appliance.engines.options import Kind
from appliance.hardware.profile import EngineName
from appliance.hardware.profile import Kind as Accelerator
from appliance.models.bundle import ModelFormat
from appliance.models.facts import ModelFacts
from appliance.placement.contract import (
    Demand,
    HardwareFigures,
    Measured,
    ModelFiles,
    ModelNeed,
    NodeFacts,
    Placed,
    Plan,
    Running,
    Way,
    Wishes,
)

GIB = 2**30
LLAMA, OPENVINO = EngineName.LLAMA_CPP, EngineName.OPENVINO


def cpu(gib: float = 8, gb_per_second: float = 50, parallel: int = 4, engine: EngineName = LLAMA) -> Way:
    form = "gguf:Q4_K_M" if engine is LLAMA else "openvino:int4"
    return Way(
        profile="cpu-x86-avx2", accelerator=Accelerator.CPU, engine=engine, device="CPU", memory="system",
        memory_bytes=int(gib * GIB), parallel=parallel, formats=(form,),
        figures=HardwareFigures(gb_per_second * 1e9, 400e9), idle_watts=10, busy_watts=65,
    )  # fmt: skip


def gpu(gib: float = 22, gb_per_second: float = 900, parallel: int = 8) -> Way:
    return Way(
        profile="nvidia-rtx-30", accelerator=Accelerator.GPU, engine=LLAMA, device="cuda", memory="device",
        memory_bytes=int(gib * GIB), parallel=parallel, formats=("gguf:Q4_K_M",),
        figures=HardwareFigures(gb_per_second * 1e9, 70e12), idle_watts=25, busy_watts=350,
    )  # fmt: skip


def node(name: str, *ways: Way, **more: object) -> NodeFacts:
    return NodeFacts(name, name, ways, **more)  # type: ignore[arg-type]


def facts(kind: Kind, parameters: float, kv_values_per_token: int) -> ModelFacts:
    """Of one layer, with a vocabulary that computing takes memory for."""
    half = kv_values_per_token // 2
    return ModelFacts(
        format=ModelFormat.GGUF, kind=kind, architecture="", parameters=int(parameters), quantisation="",
        weights_bytes=0, layers=1, kv_heads=(1,), key_length=half, value_length=half, vocabulary=32_000,
    )  # fmt: skip


def model(
    name: str, billions: float, *, quality: float | None = None, kind: Kind = Kind.TEXT, **more: object
) -> ModelNeed:
    """A dense model in 4 bits, as GGUF and as OpenVINO."""
    weights = int(billions * 1e9 * 0.6)
    need = ModelNeed(
        name=name,
        files=(
            ModelFiles(f"{name}-gguf", "gguf:Q4_K_M", weights),
            ModelFiles(f"{name}-ov", "openvino:int4", weights),
        ),
        facts=facts(kind, billions * 1e9, int(billions * 9_000)),
        parameters=billions * 1e9,
        kind=kind,
        context_tokens=8192,
        quality=billions if quality is None else quality,
    )
    return replace(need, **more)  # type: ignore[arg-type]


DEMO = ModelNeed(
    "demo", (ModelFiles("demo-gguf", "gguf:Q4_K_M", 3_000_000),), facts(Kind.TEXT, 2.8e6, 512), 2.8e6, 2048,
    is_demo=True,
)  # fmt: skip


def demand(name: str, requests: float = 100, prompt: float = 400, answer: float = 250) -> Demand:
    return Demand(name, requests, requests * prompt, requests * answer)


def measured(
    where: NodeFacts,
    what: ModelNeed,
    alone: float,
    *,
    way: Way | None = None,
    at: float = 1.0,
    **more: object,
) -> Measured:
    way = way or where.ways[0]
    form = "-gguf" if way.engine is LLAMA else "-ov"
    found = Measured(
        where.id, what.name, what.name + form, way.engine, way.device, way.profile,
        prompt=alone * 10, alone=alone, together=alone * 2, at_once=way.parallel, at=at,
    )  # fmt: skip
    return replace(found, **more)  # type: ignore[arg-type]


def as_running(placed: Placed, **more: object) -> Running:
    there = Running(
        placed.node, placed.model, placed.digest, placed.way.engine, placed.way.device, placed.slots,
        placed.context_tokens, memory_bytes=placed.memory_bytes,
    )  # fmt: skip
    return replace(there, **more)  # type: ignore[arg-type]


def carried_out(plan: Plan) -> tuple[Running, ...]:
    return tuple(as_running(each) for each in plan.placed)


def where(plan: Plan) -> set[tuple[str, str]]:
    return {(each.node, each.model) for each in plan.placed}


ways = st.one_of(
    st.builds(
        cpu,
        st.floats(0.5, 64),
        st.floats(15, 300),
        st.integers(1, 8),
        st.sampled_from([LLAMA, OPENVINO]),
    ),
    st.builds(gpu, st.floats(2, 90), st.floats(100, 3000), st.integers(1, 32)),
)
nodes = st.lists(st.lists(ways, max_size=3, unique_by=lambda way: way.name), max_size=6).map(
    lambda found: [node(f"n{index}", *each) for index, each in enumerate(found)]
)
models = st.lists(
    st.tuples(st.floats(0.3, 70), st.floats(0, 10), st.sampled_from([Kind.TEXT, Kind.TEXT, Kind.EMBEDDINGS])),
    min_size=0,
    max_size=5,
).map(
    lambda found: (
        [
            model(f"m{index}", size, quality=quality, kind=kind)
            for index, (size, quality, kind) in enumerate(found)
        ]
        + [DEMO]
    )
)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[NodeFacts], list[ModelNeed], list[Demand], Wishes]:
    some_nodes, some_models = draw(nodes), draw(models)
    names = [each.name for each in some_models]
    ids = [each.id for each in some_nodes] or ["nowhere"]
    asked = [
        demand(name, draw(st.floats(0, 3000)), draw(st.floats(1, 2000)), draw(st.floats(1, 800)))
        for name in names
        if draw(st.booleans())
    ]
    pairs = st.frozensets(st.tuples(st.sampled_from(ids), st.sampled_from(names)), max_size=3)
    pinned = draw(pairs)
    wishes = Wishes(
        pinned, draw(pairs) - pinned, tuple((name, draw(st.integers(0, 3))) for name in names[:1])
    )
    return some_nodes, some_models, asked, wishes
