"""llama.cpp's engine, loaded: model, batcher and what the endpoints ask of them together."""

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import psutil

from appliance.engines.batcher import Batcher, BatcherLimits
from appliance.engines.embedder import Embedder
from appliance.engines.llama import Pointer
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.options import EngineOptions
from appliance.engines.served import Answer, SettingUnknown
from appliance.engines.sharding.parts import PARTS_SETTING
from appliance.engines.sharding.split import Split, open_split
from appliance.engines.text_engine import DEFAULT_CONTEXT_TOKENS, TextEngine
from appliance.hardware.profile import EngineName

REPACK_SETTING = "repack"
"""False: the weights are computed as they lie in the file, and give the tokens that a split model gives."""
GPU_LAYERS_SETTING = "n_gpu_layers"
"""How many layers a graphics backend takes, where its library lies beside the processor's; 999: all."""
SETTINGS = frozenset({REPACK_SETTING, GPU_LAYERS_SETTING, PARTS_SETTING})
_KV_SHARE_OF_FREE_MEMORY = 0.4
_PREFIX_SHARE_OF_FREE_MEMORY = 0.1


class Engine(TextEngine):
    """Everything loaded; `ready` once a token was made. Constructing takes seconds: not on an event loop."""

    engine = EngineName.LLAMA_CPP

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        _check_settings(options)
        self.split = open_split(options, DEFAULT_CONTEXT_TOKENS)
        self.model = Model(options.model_file, partial(_configure, options, self.split))
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
        return {**super().health(), "parts": self.split.told() if self.split else []}


def _check_settings(options: EngineOptions) -> None:
    for name in options.settings:
        if name not in SETTINGS:
            raise SettingUnknown(
                f"llama.cpp has no setting {name[:80]!r} here, only {', '.join(sorted(SETTINGS))}.",
                next_step="Correct the hardware profile.",
            )


def _configure(options: EngineOptions, split: Split | None, parameters: Pointer) -> None:
    repacks = options.settings.get(REPACK_SETTING, True) is not False
    parameters.use_extra_bufts = repacks and split is None
    layers = options.settings.get(GPU_LAYERS_SETTING, 0)
    parameters.n_gpu_layers = int(layers) if isinstance(layers, int | float) else 0
    if split:
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
    physical = psutil.cpu_count(logical=False) or 1
    allowed = len(psutil.Process().cpu_affinity() or [1])
    return BatcherLimits(
        slots=options.slots,
        context_tokens=min(context, kv_tokens),
        kv_tokens=kv_tokens,
        threads=options.threads or min(physical, allowed),
        waiting=options.waiting,
        # the cache of a split model lies on its parts: to fetch it takes longer than to compute it again
        prefix_bytes=0 if split else int(free * _PREFIX_SHARE_OF_FREE_MEMORY),
    )
