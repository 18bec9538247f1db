"""llama.cpp's engine, loaded: model, batcher and what the endpoints ask of them together."""

from collections.abc import Mapping
from functools import cached_property, partial

import psutil

from appliance.engines.batcher import Batcher, BatcherLimits
from appliance.engines.embedder import Embedder
from appliance.engines.metrics import EngineMetrics
from appliance.engines.model import Model
from appliance.engines.options import EngineOptions
from appliance.engines.served import Answer
from appliance.engines.text_engine import DEFAULT_CONTEXT_TOKENS, TextEngine
from appliance.hardware.profile import EngineName

_KV_SHARE_OF_FREE_MEMORY = 0.4
_PREFIX_SHARE_OF_FREE_MEMORY = 0.1


class Engine(TextEngine):
    """Everything loaded; `ready` once a token was made. Constructing takes seconds: not on an event loop."""

    engine = EngineName.LLAMA_CPP

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        self.model = Model(options.model_file)
        super().__init__(options, metrics, self.model)
        self.sha256 = self.model.sha256()
        self.limits = _limits(self.model, options)
        self.slots, self.context_tokens = self.limits.slots, self.limits.context_tokens
        self.runner = Batcher(self.model, self.limits, metrics)
        self.embedder = Embedder(self.model, self.limits)

    @cached_property
    def endpoints(self) -> Mapping[str, Answer]:
        from appliance.engines.embeddings import embeddings  # it imports this module for its types

        return {**super().endpoints, "/v1/embeddings": partial(embeddings, engine=self)}


def _limits(model: Model, options: EngineOptions) -> BatcherLimits:
    context = min(options.context_tokens or DEFAULT_CONTEXT_TOKENS, model.context_tokens_trained)
    free = psutil.virtual_memory().available
    affordable = int(free * _KV_SHARE_OF_FREE_MEMORY / max(1, model.kv_bytes_per_token))
    kv_tokens = options.kv_tokens or max(context, min(options.slots * context, affordable))
    physical = psutil.cpu_count(logical=False) or 1
    allowed = len(psutil.Process().cpu_affinity() or [1])
    return BatcherLimits(
        slots=options.slots,
        context_tokens=min(context, kv_tokens),
        kv_tokens=kv_tokens,
        threads=options.threads or min(physical, allowed),
        waiting=options.waiting,
        prefix_bytes=int(free * _PREFIX_SHARE_OF_FREE_MEMORY),
    )
