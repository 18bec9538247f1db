"""The engine server: one process that holds one model and answers OpenAI-shaped requests.

`loading` makes a `Served` of what was asked for (`options`): llama.cpp's `engine`, or another way to compute.
A request for text goes through the modules in this order:
http (bytes in) → contract (is it well-formed?) → chat or completions (prompt tokens, sampling plan)
→ text_engine (may it be asked here?) → the engine's runner (llama.cpp: batcher; OpenVINO: openvino.queue)
→ generation, text (where may it be cut?) → answering (the OpenAI shape) → http (bytes out).

Only `contract`, `options` and `adopted.finding` with its table are for other packages; they import nothing of
an engine.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.engines.tending import EngineState, EngineStates, read_engine_states

__all__ = ["EngineState", "EngineStates", "read_engine_states"]


def __getattr__(name: str) -> object:
    # an engine process has no use for what tends to it: loaded when it is first asked for (PEP 562)
    if name not in __all__:
        raise AttributeError(name)
    return getattr(importlib.import_module("appliance.engines.tending"), name)
