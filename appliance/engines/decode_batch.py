"""The batch of one step: a llama_batch over numpy arrays, so that filling it costs no call per token."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.engines.llama import CType, Pointer, llama


class DecodeBatch:
    """Room for `capacity` tokens. `clear`, `add` runs of one sequence each, hand `batch` to llama_decode."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._sequence = np.zeros(capacity, np.int32)
        self._wants_logits = np.zeros(capacity, np.int8)
        self._sequence_counts = np.ones(capacity, np.int32)
        # each token has exactly one sequence id, read through a pointer of its own
        offsets = np.arange(capacity, dtype=np.uint64) * np.uint64(self._sequence.itemsize)
        self._sequence_pointers = np.uint64(self._sequence.ctypes.data) + offsets
        self.batch = llama.llama_batch(
            n_tokens=0,
            token=_pointer(self._token, ctypes.c_int32),
            pos=_pointer(self._position, ctypes.c_int32),
            n_seq_id=_pointer(self._sequence_counts, ctypes.c_int32),
            seq_id=_pointer(self._sequence_pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._wants_logits, ctypes.c_int8),
        )
        self.outputs = 0

    @property
    def tokens(self) -> int:
        return int(self.batch.n_tokens)

    def clear(self) -> None:
        self.batch.n_tokens = self.outputs = 0

    def add(self, sequence_id: int, tokens: Sequence[int], position: int, *, wants_logits: bool) -> int:
        """Appends `tokens` from `position` on; the output row of the last one, if it wants logits."""
        start, end = self.tokens, self.tokens + len(tokens)
        self._token[start:end] = tokens
        self._position[start:end] = np.arange(position, position + len(tokens))
        self._sequence[start:end] = sequence_id
        self._wants_logits[start:end] = 0
        self._wants_logits[end - 1] = wants_logits
        self.outputs += wants_logits
        self.batch.n_tokens = end
        return self.outputs - 1


def _pointer(array: NDArray[Any], kind: CType) -> Pointer:
    return array.ctypes.data_as(ctypes.POINTER(kind))
