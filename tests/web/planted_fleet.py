"""A fleet with models in every state, written as the box and its workers write it, for pages to tell.

A model that fits, one that fits on some machines only, one that fits nowhere, one at its end; a get that
waits for its hub, an upload that was cut, a get that was refused; an engine that crashed, a PC whose disk is
full, a PC that is silent, a server that could be adopted.
"""

import hashlib
import json
from pathlib import Path

from sqlite_utils import Database

from appliance.clock import now
from appliance.engines.tending import EngineState, EngineStates
from appliance.hardware import HealthRecord, MachineFacts, keep_hardware, keep_health
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.facts import ModelFacts
from appliance.models.gets import (
    GetState,
    HubOrder,
    UploadFile,
    UploadOrder,
    end_get,
    insert_get,
    measure_get,
    move_get,
    put_off_get,
)
from appliance.models.held import HeldModel, add_held
from appliance.models.hub_download import HubUnreachable
from appliance.placement import Applying, Pin, choose_placement, set_pin, wish_copies
from appliance.settings import BOX_NODE, Settings

MACHINES = Path(__file__).parents[1] / "hardware" / "machines"
DAY = 86_400
NODES = {
    BOX_NODE: ("box", "arrow-lake-desktop"),
    "cad": ("CAD station 1", "rtx-a6000-cad-station"),
    "desk": ("Réception", "meteor-lake-laptop-old-kernel"),
    "mac": ("Mac Studio of a department with a long name", "mac-studio-m2-ultra"),
    "old": ("Ivy", "ivy-bridge-office-pc"),
    "server": ("Server", "eight-h100-server"),
}


def live(settings: Settings, db: Database, activity: Database) -> None:
    """All of it."""
    machines(db, activity)
    models(db)
    gets(activity)
    crashed_engine(settings)
    choose_placement(db, applying=Applying.ASK, chosen_by=None)
    set_pin(db, Pin(node="desk", model="fits", never=True), chosen_by=None)
    wish_copies(db, "wide", 4, chosen_by=None)


def machines(db: Database, activity: Database) -> None:
    for number, (node, (name, record)) in enumerate(NODES.items()):
        facts = MachineFacts.model_validate_json((MACHINES / f"{record}.json").read_text())
        keep_hardware(activity, node, facts, now())
        if node != BOX_NODE:
            _enrolled(db, node, name, number)
        at = now() - 4000 if node == "mac" else now() + 600
        report = json.dumps({"name": name, "load": {"cpu_percent": 12}, **_said(node)})
        activity.table("node_reports").upsert({"node": node, "at": at, "report": report}, pk="node")
    keep_health(activity, HealthRecord("cad", "fits", now(), True, 2.4, "It answered as expected in 2.4 s."))
    keep_health(activity, HealthRecord("old", "fits", now(), False, 2.4, "The answer was empty."))


def _enrolled(db: Database, node: str, name: str, number: int) -> None:
    db.table("invitations").insert({"id": node, "label": name, "created_at": 1, "expires_at": 2})
    db.table("workers").insert(
        {
            "id": node,
            "name": name,
            "public_key": f"key {number}",
            "invitation_id": node,
            "state": "approved",
            "short_code": "1",
            "poll_key": b"k",
            "facts": json.dumps({"name": name}),
            "tunnel_address": f"10.77.0.{number + 1}",
            "created_at": 1.0,
        }
    )


def _said(node: str) -> dict[str, object]:
    ready = {"model": "fits", "ready": True, "slots": 8, "port": 8000, "context_tokens": 8192}
    way = {"digest": _digest("fits"), "total_bytes": 5 * 10**9, "from_box_bytes": 9 * 10**8}
    match node:
        case "desk":
            full = {"have_bytes": 10**9, "from_workers_bytes": 10**8, "trouble": "The disk is full."}
            waiting = {**ready, "ready": False, "trouble": "The disk is full."}
            return {"engines": [waiting], "models": [{**way, **full, "is_complete": False}]}
        case "server":
            llama = {"id": "meta-llama/Llama-3.3-70B-Instruct", "context_tokens": 131072}
            vllm = {"kind": "vllm", "port": 8000, "slots": 64, "models": [llama]}
            locked = {"kind": "ollama", "port": 11434, "slots": 1, "models": [], "needs_key": True}
            return {"engines": [], "found_servers": [vllm, locked]}
        case "cad":
            whole = {"have_bytes": 5 * 10**9, "from_workers_bytes": 41 * 10**8, "trouble": ""}
            return {"engines": [ready], "models": [{**way, **whole, "is_complete": True}]}
    return {"engines": [ready]}


def models(db: Database) -> None:
    add_held(db, _held("fits", 8.2, 36, 5.0))
    add_held(db, _held("wide", 30.5, 48, 18.6))
    add_held(db, _held("too-large-for-any-machine-of-this-fleet-whatever-it-is", 900, 88, 700.0))
    leaving = {"deprecated_at": now() - DAY, "retired_at": now() + DAY, "successor": "qwen3-8b"}
    add_held(db, _held("leaving", 7, 32, 4.0, **leaving))
    add_held(db, _held("retired", 7, 32, 4.0, deprecated_at=now() - 9 * DAY, retired_at=now() - DAY))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _held(name: str, billions: float, layers: int, weights_gb: float, **life: object) -> HeldModel:
    size = int(weights_gb * 1e9)
    file = BundleFile(path=f"{name}.gguf", size_bytes=size, sha256=_digest(name))
    facts = ModelFacts(
        format=ModelFormat.GGUF,
        kind="text",
        architecture="qwen3",
        parameters=int(billions * 1e9),
        quantisation="Q4_K_M",
        weights_bytes=size,
        layers=layers,
        kv_heads=(8,) * layers,
        key_length=128,
        value_length=128,
        context_tokens=40960,
    )
    came = {"licence": "Apache-2.0", "licence_accepted_by": "ana", "added_by": "ana", "added_at": now() - DAY}
    source = f"{name}.gguf on a USB stick"
    bundle = Bundle(format=ModelFormat.GGUF, files=(file,))
    return HeldModel(name=name, bundle=bundle, facts=facts, entry="", source=source, **(came | life))  # type: ignore[arg-type]


def gets(activity: Database) -> None:
    def hub(name: str) -> HubOrder:
        return HubOrder(repository=f"Somebody/{name}", files=("*.gguf",))

    fetched = insert_get(activity, "coming", hub("coming"), by="ana", at=now() - 500, size_bytes=8 * 10**9)
    move_get(activity, fetched, GetState.FETCHING)
    measure_get(activity, fetched, 3 * 10**9)
    late = insert_get(activity, "late", hub("late"), by="ana", at=now() - 400, size_bytes=12 * 10**9)
    silent = HubUnreachable("https://huggingface.co does not answer: timed out.", retry_after_seconds=60)
    put_off_get(activity, late, silent, until=now() + 60)
    file = UploadFile(path="mine.gguf", size_bytes=9 * 10**8)
    insert_get(activity, "mine", UploadOrder(files=(file,)), by="bob", at=now() - 300, size_bytes=9 * 10**8)
    broken = insert_get(activity, "broken", hub("broken"), by="ana", at=now() - 900)
    end_get(activity, broken, GetState.REFUSED, at=now() - 800, code="internet_not_allowed")


def crashed_engine(settings: Settings) -> None:
    said = "ggml_backend_alloc_buffer: failed to allocate 4200.00 MiB"
    state = EngineState(name="wide", is_running=False, since=now() - 60, restarts=4, said=said)
    settings.engines_dir.mkdir(parents=True, exist_ok=True)
    (settings.engines_dir / "engines.json").write_text(EngineStates(engines=(state,)).model_dump_json())
