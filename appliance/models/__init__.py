"""Models: what a company may choose from, how one comes to the box, what it is, how requests name it.

An entry of the catalogue, a stick, an upload → `ask_get` → the core fetches and checks (`following`) → the store
→ a name in the API, and aliases that an admin moves. Nothing is used before its bytes had their hash. Workers
and engines import `bundle`, `layout` and `demo` alone, so all else is loaded when it is first asked for (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.models.aliases import (
        DEFAULT_ALIAS,
        OFFERED_ALIASES,
        Alias,
        AliasRefused,
        list_aliases,
        move_alias,
        remove_alias,
    )
    from appliance.models.asking import (
        EntryUnknown,
        ModelInUse,
        ModelRetired,
        ModelShips,
        ask_get,
        hub_order,
        remove_model,
        verify_model,
    )
    from appliance.models.carrying import Carried, NoNasFolder, NothingCarried, carried_models, medium
    from appliance.models.choice import HUB_URL, ModelsChoice
    from appliance.models.entry import (
        Capability,
        Entry,
        EntryUnusable,
        Lifecycle,
        Variant,
        VariantFormat,
        catalogue_folders,
        read_catalogue,
    )
    from appliance.models.facts import ModelFacts
    from appliance.models.fitting import LargerThanMemory, Room, node_rooms, refuse_too_large
    from appliance.models.gets import (
        CarriedOrder,
        Get,
        GetState,
        GetUnknown,
        HubOrder,
        UploadFile,
        UploadOrder,
        ask_cancel,
        list_gets,
        read_get,
        unfinished_gets,
    )
    from appliance.models.gguf_header import ModelFileUnusable
    from appliance.models.held import (
        HeldModel,
        ModelNameTaken,
        ModelUnknown,
        held_model,
        held_models,
    )
    from appliance.models.hub_download import InternetNotAllowed
    from appliance.models.hub_token import forget_hub_token, has_hub_token, keep_hub_token
    from appliance.models.layout import bundle_folder, engine_path, models_dir
    from appliance.models.licence import Licence, LicenceForbids, LicenceNotAccepted
    from appliance.models.memory import MemoryNeed, memory_need, told_bytes
    from appliance.models.names import NameRefused
    from appliance.models.states import LifecycleState, ModelState, model_states, need_of
    from appliance.models.store import ModelDamaged, Store, StoreFull
    from appliance.models.uploads import LARGEST_CHUNK_BYTES, ChunkRefused, receive_chunk, received_bytes
    from appliance.models.uses import serving_nodes, uses_of

_WHERE = {
    "aliases": (
        "DEFAULT_ALIAS", "OFFERED_ALIASES", "Alias", "AliasRefused", "list_aliases", "move_alias", "remove_alias",
    ),
    "asking": (
        "EntryUnknown", "ModelInUse", "ModelRetired", "ModelShips", "ask_get", "hub_order", "remove_model",
        "verify_model",
    ),
    "carrying": ("Carried", "NoNasFolder", "NothingCarried", "carried_models", "medium"),
    "choice": ("HUB_URL", "ModelsChoice"),
    "entry": (
        "Capability", "Entry", "EntryUnusable", "Lifecycle", "Variant", "VariantFormat", "catalogue_folders",
        "read_catalogue",
    ),
    "facts": ("ModelFacts",),
    "fitting": ("LargerThanMemory", "Room", "node_rooms", "refuse_too_large"),
    "gets": (
        "CarriedOrder", "Get", "GetState", "GetUnknown", "HubOrder", "UploadFile", "UploadOrder", "ask_cancel",
        "list_gets", "read_get", "unfinished_gets",
    ),
    "gguf_header": ("ModelFileUnusable",),
    "held": ("HeldModel", "ModelNameTaken", "ModelUnknown", "held_model", "held_models"),
    "hub_download": ("InternetNotAllowed",),
    "hub_token": ("forget_hub_token", "has_hub_token", "keep_hub_token"),
    "layout": ("bundle_folder", "engine_path", "models_dir"),
    "licence": ("Licence", "LicenceForbids", "LicenceNotAccepted"),
    "memory": ("MemoryNeed", "memory_need", "told_bytes"),
    "names": ("NameRefused",),
    "states": ("LifecycleState", "ModelState", "model_states", "need_of"),
    "store": ("ModelDamaged", "Store", "StoreFull"),
    "uploads": ("LARGEST_CHUNK_BYTES", "ChunkRefused", "receive_chunk", "received_bytes"),
    "uses": ("serving_nodes", "uses_of"),
}  # fmt: skip
_MODULES = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"appliance.models.{_MODULES[name]}"), name)
