"""Embeddings: one vector of unit length per text, pooled as the model's file says, else the mean.

It has a small context of its own, opened at the first call, so that it never disturbs the sequences that
are being generated. Texts that fit into it together are computed in one step, each as a sequence of its own.
Calls come one after the other.
"""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.engines.batcher import BatcherLimits
from appliance.engines.decode_batch import DecodeBatch
from appliance.engines.llama import Pointer, llama
from appliance.engines.model import Model
from appliance.errors import Broken

MAX_TOKENS = 2048
MAX_SEQUENCES = 32


class Embedder:
    """Blocks while it computes: call it in a thread."""

    def __init__(self, model: Model, limits: BatcherLimits, *, ranks: bool = False) -> None:
        """`ranks`: a reranker, whose vectors are scores and keep their length."""
        self.max_tokens = min(MAX_TOKENS, limits.context_tokens)
        """Of one text."""
        self.batch_tokens = MAX_TOKENS
        """Of one step's texts together."""
        self._ranks = ranks
        self._model = model
        self._threads = limits.threads
        self._lock = threading.Lock()
        self._context: Pointer = None

    def embed(self, texts: Sequence[list[int]]) -> list[NDArray[np.float32]]:
        """The vectors of one step's texts (see `steps`): shape (embedding_width,), Euclidean length 1."""
        with self._lock:
            if self._context is None:
                self._context = self._open_context()
                self._batch = DecodeBatch(self.batch_tokens)
            llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
            self._batch.clear()
            for sequence, tokens in enumerate(texts):
                self._batch.add(sequence, tokens, 0, wants_logits=True)
            result = llama.llama_decode(self._context, self._batch.batch)
            if result != 0:
                raise Broken(f"llama_decode failed with {result} on a text to embed.")
            return [self._vector(sequence) for sequence in range(len(texts))]

    def _vector(self, sequence: int) -> NDArray[np.float32]:
        pointer = llama.llama_get_embeddings_seq(self._context, sequence)
        if self._ranks:
            return np.array(np.ctypeslib.as_array(pointer, (1,)), np.float32)
        vector = np.ctypeslib.as_array(pointer, (self._model.embedding_width,)).astype(np.float32)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)

    def _open_context(self) -> Pointer:
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = self.batch_tokens
        parameters.n_seq_max = MAX_SEQUENCES
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = self._threads
        parameters.embeddings = True
        architecture = self._model.metadata("general.architecture")
        if self._model.metadata(f"{architecture}.pooling_type") is None:
            parameters.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN
        context = llama.llama_init_from_model(self._model.handle, parameters)
        if not context:
            raise Broken("The context for embeddings can't be opened.")
        return context


def steps(lengths: Sequence[int], most_tokens: int, most_sequences: int = MAX_SEQUENCES) -> list[list[int]]:
    """Which texts, by their place, are computed together: neighbours in length, as many as fit. Pure."""
    together: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda one: lengths[one]):
        if not together or lengths[place] > room or len(together[-1]) == most_sequences:
            together.append([])
            room = most_tokens
        together[-1].append(place)
        room -= lengths[place]
    return together
