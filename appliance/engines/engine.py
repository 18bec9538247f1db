"""llama.cpp's engine, loaded: model, batcher and what the endpoints ask of them together."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import psutil

from appliance.engines import llama_settings
from appliance.engines.batcher import Batcher, BatcherLimits
from appliance.engines.embedder import Embedder
from appliance.engines.llama import Pointer
from appliance.engines.llama_devices import Device
from appliance.engines.llama_settings import check_settings, chosen_devices, configure, threads
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.options import EngineOptions
from appliance.engines.served import Answer
from appliance.engines.sharding.parts import PARTS_SETTING
from appliance.engines.sharding.split import Split, open_split
from appliance.engines.text_engine import DEFAULT_CONTEXT_TOKENS, TextEngine
from appliance.hardware.profile import EngineName

SETTINGS = llama_settings.SETTINGS | {PARTS_SETTING}
_KV_SHARE_OF_FREE_MEMORY = 0.4
_PREFIX_SHARE_OF_FREE_MEMORY = 0.1


class Engine(TextEngine):
    """Everything loaded; `ready` once a token was made. Constructing takes seconds: not on an event loop."""

    engine = EngineName.LLAMA_CPP

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        check_settings(options, SETTINGS)
        self.split = open_split(options, DEFAULT_CONTEXT_TOKENS)
        self._devices = () if self.split else chosen_devices(options)
        self.model = Model(options.model_file, partial(_configure, options, self._devices, self.split))
        super().__init__(options, metrics, self.model)
        self.sha256 = self.model.sha256()
        self.limits = _limits(self.model, options, self.split)
        self.slots, self.context_tokens = self.limits.slots, self.limits.context_tokens
        self.runner = Batcher(self.model, self.limits, metrics)
        self.embedder = Embedder(self.model, self.limits)

    @cached_property
    def endpoints(self) -> Mapping[str, Answer]:
        from appliance.engines.embeddings import embeddings  # it imports this module for its types

        return {**super().endpoints, "/v1/embeddings": partial(embeddings, engine=self)}

    def health(self) -> dict[str, Any]:
        return {
            **super().health(),
            "parts": self.split.told() if self.split else [],
            "device_names": [device.title for device in self._devices],
        }


def _configure(
    options: EngineOptions, devices: Sequence[Device], split: Split | None, parameters: Pointer
) -> None:
    configure(options, devices, parameters)
    if split:
        parameters.use_extra_bufts = False
        split.configure(parameters)


def _limits(model: Model, options: EngineOptions, split: Split | None) -> BatcherLimits:
    context = min(options.context_tokens or DEFAULT_CONTEXT_TOKENS, model.context_tokens_trained)
    free = psutil.virtual_memory().available
    affordable = int(free * _KV_SHARE_OF_FREE_MEMORY / max(1, model.kv_bytes_per_token))
    kv_tokens = options.kv_tokens or max(context, min(options.slots * context, affordable))
    if split:
        # with one token less than all could fill, sequences share one cache: copying in it is a note, where
        # caches of their own would be copied through the tunnel
        kv_tokens = max(context, min(kv_tokens, split.kv_tokens, options.slots * context - 1))
    return BatcherLimits(
        slots=options.slots,
        context_tokens=min(context, kv_tokens),
        kv_tokens=kv_tokens,
        threads=threads(options),
        waiting=options.waiting,
        # the cache of a split model lies on its parts: to fetch it takes longer than to compute it again
        prefix_bytes=0 if split else int(free * _PREFIX_SHARE_OF_FREE_MEMORY),
    )
