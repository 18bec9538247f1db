"""Computed prefixes kept beside the KV cache, in plain memory.

Every token in the cache costs every step a little, for whichever sequence it was computed: attention looks
at each cell to find it masked. What nobody uses now is therefore copied out and the cells are freed; putting
it back is a copy too, some hundred times cheaper than computing it again. The longest unused go first when
the memory granted is full.
"""

import ctypes
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.engines.llama import Pointer, llama
from appliance.engines.placement import Place

LEAST_TOKENS = 32
"""Shorter prefixes are computed again: they are not worth looking through."""
_BYTE_POINTER = ctypes.POINTER(ctypes.c_uint8)


@dataclass(eq=False)
class StoredPrefix(Place):
    """Tokens and their state, out of the cache; `sequence_id` means nothing here."""

    state: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


class PrefixStore:
    """For the engine thread only."""

    def __init__(self, context: Pointer, limit_bytes: int) -> None:
        self._context = context
        self._limit_bytes = limit_bytes
        self.prefixes: list[StoredPrefix] = []
        """The longest unused first."""

    @property
    def used_bytes(self) -> int:
        return sum(prefix.state.nbytes for prefix in self.prefixes)

    def put(self, place: Place) -> None:
        """Keeps a copy of what `place` holds, unless it is short or bigger than all memory granted."""
        size = llama.llama_state_seq_get_size(self._context, place.sequence_id)
        if len(place.tokens) < LEAST_TOKENS or size > self._limit_bytes:
            return
        state = np.empty(size, np.uint8)
        written = llama.llama_state_seq_get_data(self._context, _bytes(state), size, place.sequence_id)
        if written != size:
            return
        used = self.used_bytes + size
        while used > self._limit_bytes:
            used -= self.prefixes.pop(0).state.nbytes
        self.prefixes.append(StoredPrefix(-1, place.tokens.copy(), state=state))

    def restore(self, prefix: StoredPrefix, sequence_id: int) -> bool:
        """Copies `prefix` into the empty sequence; False where the cache has no room for it."""
        self.prefixes.remove(prefix)
        self.prefixes.append(prefix)
        state = prefix.state
        read = llama.llama_state_seq_set_data(self._context, _bytes(state), state.nbytes, sequence_id)
        return bool(read == state.nbytes)

    def copy(self, source_id: int, target_id: int) -> bool:
        """Copies one sequence into another, empty one; False where the cache has no room for it."""
        size = llama.llama_state_seq_get_size(self._context, source_id)
        state = np.empty(size, np.uint8)
        written = llama.llama_state_seq_get_data(self._context, _bytes(state), size, source_id)
        read = llama.llama_state_seq_set_data(self._context, _bytes(state), size, target_id)
        return bool(written == read == size)

    def drop_continued(self, tokens: list[int]) -> None:
        """Forgets prefixes that `tokens`, now kept elsewhere, contain whole."""
        self.prefixes = [one for one in self.prefixes if tokens[: len(one.tokens)] != one.tokens]


def _bytes(state: NDArray[np.uint8]) -> Pointer:
    return state.ctypes.data_as(_BYTE_POINTER)
