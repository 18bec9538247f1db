"""Models: what a company may choose from, how one comes to the box, what it is, how requests name it.

An entry of the catalogue, a stick, an upload → `ask_get` → the core fetches and checks (`getting`) → the
store → a name in the API, and aliases that an admin moves. Nothing is used before its bytes had their hash.
Workers and engines import `bundle`, `layout` and `demo` alone: all else is loaded when it is first asked for
(PEP 562).
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.models.aliases import (
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
    from appliance.models.checks import ModelCheck, ModelCheckUnderWay, ask_check, model_checks
    from appliance.models.choice import HUB_URL, ModelsChoice
    from appliance.models.conversion_source import Weights
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
    from appliance.models.expected import ExpectedSize, expected_size
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
        dismiss_refused,
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
        lifecycle_of,
    )
    from appliance.models.hub_download import InternetNotAllowed
    from appliance.models.hub_token import forget_hub_token, has_hub_token, keep_hub_token
    from appliance.models.layout import bundle_folder, engine_path, models_dir
    from appliance.models.licence import Licence, LicenceForbids, LicenceNotAccepted
    from appliance.models.memory import MemoryNeed, memory_need, told_bytes
    from appliance.models.names import NameRefused
    from appliance.models.naming import DEFAULT_ALIAS, OFFERED_ALIASES
    from appliance.models.states import LifecycleState, ModelState, lifecycle_at, model_states, need_of
    from appliance.models.store import ModelDamaged, Store, StoreFull
    from appliance.models.uploads import LARGEST_CHUNK_BYTES, ChunkRefused, receive_chunk, received_bytes
    from appliance.models.uses import serving_nodes, uses_of

__all__ = [
    "DEFAULT_ALIAS",
    "HUB_URL",
    "LARGEST_CHUNK_BYTES",
    "OFFERED_ALIASES",
    "Alias",
    "AliasRefused",
    "Capability",
    "Carried",
    "CarriedOrder",
    "ChunkRefused",
    "Entry",
    "EntryUnknown",
    "EntryUnusable",
    "ExpectedSize",
    "Get",
    "GetState",
    "GetUnknown",
    "HeldModel",
    "HubOrder",
    "InternetNotAllowed",
    "LargerThanMemory",
    "Licence",
    "LicenceForbids",
    "LicenceNotAccepted",
    "Lifecycle",
    "LifecycleState",
    "MemoryNeed",
    "ModelCheck",
    "ModelCheckUnderWay",
    "ModelDamaged",
    "ModelFacts",
    "ModelFileUnusable",
    "ModelInUse",
    "ModelNameTaken",
    "ModelRetired",
    "ModelShips",
    "ModelState",
    "ModelUnknown",
    "ModelsChoice",
    "NameRefused",
    "NoNasFolder",
    "NothingCarried",
    "Room",
    "Store",
    "StoreFull",
    "UploadFile",
    "UploadOrder",
    "Variant",
    "VariantFormat",
    "Weights",
    "ask_cancel",
    "ask_check",
    "ask_get",
    "bundle_folder",
    "carried_models",
    "catalogue_folders",
    "dismiss_refused",
    "engine_path",
    "expected_size",
    "forget_hub_token",
    "has_hub_token",
    "held_model",
    "held_models",
    "hub_order",
    "keep_hub_token",
    "lifecycle_at",
    "lifecycle_of",
    "list_aliases",
    "list_gets",
    "medium",
    "memory_need",
    "model_checks",
    "model_states",
    "models_dir",
    "move_alias",
    "need_of",
    "node_rooms",
    "read_catalogue",
    "read_get",
    "receive_chunk",
    "received_bytes",
    "refuse_too_large",
    "remove_alias",
    "remove_model",
    "serving_nodes",
    "told_bytes",
    "unfinished_gets",
    "uses_of",
    "verify_model",
]

_MODULES = (
    "aliases",
    "asking",
    "carrying",
    "checks",
    "choice",
    "conversion_source",
    "entry",
    "expected",
    "facts",
    "fitting",
    "gets",
    "gguf_header",
    "held",
    "hub_download",
    "hub_token",
    "layout",
    "licence",
    "memory",
    "names",
    "naming",
    "states",
    "store",
    "uploads",
    "uses",
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _MODULES:
            loaded = importlib.import_module(f"appliance.models.{module}")
            if hasattr(loaded, name):
                return getattr(loaded, name)
    raise AttributeError(name)
