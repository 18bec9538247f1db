"""Embeddings: one vector of unit length per text, pooled as the model's file says, else the mean.

It has a small context of its own, opened at the first call, so that it never disturbs the sequences that
are being generated. Calls come one after the other.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from appliance.engines.batcher import BatcherLimits
from appliance.engines.decode_batch import DecodeBatch
from appliance.engines.llama import Pointer, llama
from appliance.engines.model import Model
from appliance.errors import Broken

MAX_TOKENS = 2048


class Embedder:
    """Blocks while it computes: call it in a thread."""

    def __init__(self, model: Model, limits: BatcherLimits) -> None:
        self.max_tokens = min(MAX_TOKENS, limits.context_tokens)
        self._model = model
        self._threads = limits.threads
        self._lock = threading.Lock()
        self._context: Pointer = None

    def embed(self, tokens: list[int]) -> NDArray[np.float32]:
        """The vector of 1 to `max_tokens` tokens: shape (embedding_width,), Euclidean length 1."""
        with self._lock:
            if self._context is None:
                self._context = self._open_context()
                self._batch = DecodeBatch(self.max_tokens)
            llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
            self._batch.clear()
            self._batch.add(0, tokens, 0, wants_logits=True)
            result = llama.llama_decode(self._context, self._batch.batch)
            if result != 0:
                raise Broken(f"llama_decode failed with {result} on a text to embed.")
            pointer = llama.llama_get_embeddings_seq(self._context, 0)
            vector = np.ctypeslib.as_array(pointer, (self._model.embedding_width,)).astype(np.float32)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)

    def _open_context(self) -> Pointer:
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = self.max_tokens
        parameters.n_seq_max = 1
        parameters.n_threads = parameters.n_threads_batch = self._threads
        parameters.embeddings = True
        architecture = self._model.metadata("general.architecture")
        if self._model.metadata(f"{architecture}.pooling_type") is None:
            parameters.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN
        context = llama.llama_init_from_model(self._model.handle, parameters)
        if not context:
            raise Broken("The context for embeddings can't be opened.")
        return context
