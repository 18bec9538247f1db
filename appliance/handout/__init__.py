"""Handing out: a model's files go to workers in verified pieces, from the box and from each other.

The way of a piece: `desk` tells a worker in its desired state what it may fetch and from whom (`sharing`,
`hours`) → the worker chooses (worker/choosing.py) → the box gives it (`serving`), or another worker does
(worker/seed_server.py) → checked against the box's own list (`pieces`) → the whole file is checked again.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.handout.contract import HandoutOrders, ModelProgress
    from appliance.handout.hours import HandoutChoice, HandoutTime, handout_permission

__all__ = ["HandoutChoice", "HandoutOrders", "HandoutTime", "ModelProgress", "handout_permission"]

_MODULE_OF = {
    "HandoutChoice": "hours",
    "HandoutTime": "hours",
    "handout_permission": "hours",
    "HandoutOrders": "contract",
    "ModelProgress": "contract",
}


def __getattr__(name: str) -> object:
    # a worker has no storage, which `hours` needs: each name is loaded when it is first asked for (PEP 562)
    if name not in _MODULE_OF:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
