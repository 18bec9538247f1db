"""A model split between this process and its parts: checked, connected, and told to llama.cpp.

The head keeps the embeddings, the first layers and the output; the parts take the other layers in their
order. So what crosses the tunnel for each token is one row of the model's width to each part and one back,
never the scores of the whole vocabulary. The processor's own repacking of weights is off
(`use_extra_bufts`): parts don't have it, and with it on one side the tokens would differ from an unsplit
model's.
"""

import ctypes
import logging
from dataclasses import dataclass
from typing import Any

from appliance.engines.llama import Pointer
from appliance.engines.options import EngineOptions
from appliance.engines.sharding.checking import CheckedParts, check_parts
from appliance.engines.sharding.parts import PARTS_SETTING, PartUse, read_parts
from appliance.engines.sharding.rpc import connect, cpu_buffer_type, keep
from appliance.engines.sharding.sizes import Weights
from appliance.engines.sharding.watching import watch_parts
from appliance.engines.sharding.weights import read_weights

_log = logging.getLogger(__name__)
_HEAD_KEEPS = rb"^(token_embd|output|output_norm)\.weight$"


class _BufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override of llama.h."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


@dataclass(frozen=True)
class Split:
    """Which parts hold how much of which model."""

    parts: tuple[PartUse, ...]
    weights: Weights
    checked: CheckedParts

    @property
    def kv_tokens(self) -> int:
        """Room in the cache of the fullest part."""
        return self.checked.kv_tokens

    def configure(self, parameters: Pointer) -> None:
        """Fills llama_model_params; connects to the parts."""
        devices = [connect(str(part.address)).pointer for part in self.parts]
        pointers = (ctypes.c_void_p * (len(devices) + 1))(*devices, None)
        shares = (ctypes.c_float * 128)(*(part.layers for part in self.parts))
        shares[len(devices) - 1] += (
            1  # the output counts as a layer and comes last; the override keeps it here
        )
        overrides = (_BufferOverride * 2)(_BufferOverride(_HEAD_KEEPS, cpu_buffer_type()))
        keep((pointers, shares, overrides))
        parameters.devices = ctypes.cast(pointers, ctypes.c_void_p)
        parameters.tensor_split = shares
        parameters.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        parameters.n_gpu_layers = sum(part.layers for part in self.parts) + 1

    def told(self) -> list[dict[str, Any]]:
        """For the engine's health answer: where the parts are and what they hold."""
        return [
            {
                "address": str(part.address),
                "layers": part.layers,
                "device": self.checked.statuses[part.address].device,
                "memory_bytes": self.checked.statuses[part.address].memory_bytes,
            }
            for part in self.parts
        ]


def open_split(options: EngineOptions, most_context_tokens: int) -> Split | None:
    """The split that the options ask for, every part asked; None for a model in one piece.

    Raises PartsUnreadable, PartAddressRefused, ModelUnusable and what `check_parts` refuses.
    """
    if PARTS_SETTING not in options.settings:
        return None
    parts = read_parts(options.settings[PARTS_SETTING])
    weights = read_weights(options.model_file)
    context = min(options.context_tokens or most_context_tokens, weights.context_tokens_trained)
    wanted = options.kv_tokens or options.slots * context
    checked = check_parts(parts, weights, least_kv_tokens=min(context, wanted), most_kv_tokens=wanted)
    watch_parts(checked.statuses)
    layers = ", ".join(f"{part.layers} on {part.address}" for part in parts)
    _log.info("%d layers: %s, the rest here", weights.layers, layers)
    return Split(parts, weights, checked)
