"""The head of a GGUF file: metadata and the list of tensors, believed only as far as the file bears it out.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count is held against the bytes that are left
before anything is made of it, every tensor against the file's end and against the tensor before it. Weights
are never read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from appliance.errors import Refused
from appliance.models.tensor_types import TENSOR_TYPES, TensorType

MOST_ENTRIES = 65_536
_LONGEST_KEY_BYTES = 65_535
_LONGEST_TEXT_BYTES = 4 * 2**20
_LARGEST_HEADER_BYTES = 256 * 2**20
_MOST_KEPT_VALUES = 4096
"""Of an array: more (a vocabulary) are only counted."""
_MOST_DIMENSIONS = 4

Scalar = str | int | float | bool


class ModelFileUnusable(Refused):
    """A file that is no model, is cut off, or says of itself what isn't so. Nothing of it is used."""

    code = "model_file_unusable"


@dataclass(frozen=True)
class Array:
    """`values` is empty where there are too many to keep, and for texts."""

    count: int
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class Tensor:
    """`offset` and `size_bytes` lie within the file's data."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    size_bytes: int

    @property
    def values(self) -> int:
        count = 1
        for width in self.shape:
            count *= width
        return count


@dataclass(frozen=True)
class GgufHeader:
    """What one file says, checked against its own size."""

    version: int
    metadata: dict[str, Scalar | Array]
    tensors: tuple[Tensor, ...]

    def text(self, key: str) -> str:
        """ "" where the key is missing or no text."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """0 where the key is missing or no whole number."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_gguf_header(path: Path) -> GgufHeader:
    """Raises ModelFileUnusable with a sentence; OSError where the file can't be read."""
    with path.open("rb") as file:
        return _Head(file, path.stat().st_size, path.name).read()


class _Head:
    """A place in the file that never goes past its end."""

    def __init__(self, file: BufferedReader, size_bytes: int, name: str) -> None:
        self._file = file
        self._size = size_bytes
        self._end = min(size_bytes, _LARGEST_HEADER_BYTES)
        self._name = name
        self._at = 0

    def read(self) -> GgufHeader:
        if self._size < 24 or self._take(4) != b"GGUF":
            self._refuse("is no GGUF file")
        version = self._u32()
        if version not in (2, 3):
            told = "was written on a machine of the other byte order" if version > 2**16 else "can't be read"
            self._refuse(f"is of GGUF version {version}, which {told}")
        tensor_count, entry_count = self._u64(), self._u64()
        if tensor_count > MOST_ENTRIES or entry_count > MOST_ENTRIES:
            self._refuse(f"claims {tensor_count} tensors and {entry_count} entries, more than any model has")
        metadata = dict(self._entries(entry_count))
        tensors = self._tensors(tensor_count)
        self._check_places(tensors, self._alignment(metadata))
        return GgufHeader(version, metadata, tensors)

    def _entries(self, count: int) -> Iterator[tuple[str, Scalar | Array]]:
        seen = set()
        for _ in range(count):
            key = self._text(_LONGEST_KEY_BYTES)
            if key in seen:
                self._refuse(f"says {key!r} twice")
            seen.add(key)
            yield key, self._value(self._u32())

    def _value(self, kind: int) -> Scalar | Array:
        if kind == _TEXT:
            return self._text(_LONGEST_TEXT_BYTES)
        if kind == _ARRAY:
            return self._array(self._u32(), self._u64())
        return self._scalar(kind)

    def _scalar(self, kind: int) -> Scalar:
        form = _SCALARS.get(kind)
        if form is None:
            self._refuse(f"has a value of a kind ({kind}) that GGUF doesn't know")
        value: Scalar = form.unpack(self._take(form.size))[0]
        return value

    def _array(self, kind: int, count: int) -> Array:
        if kind == _TEXT:
            if count * 8 > self._end - self._at:
                self._refuse("has a list that is longer than the file")
            for _ in range(count):
                self._skip(self._u64())
            return Array(count)
        form = _SCALARS.get(kind)
        if form is None:
            self._refuse(f"has a list of a kind ({kind}) that can't be read")
        if count > _MOST_KEPT_VALUES:
            self._skip(count * form.size)
            return Array(count)
        data = self._take(count * form.size)
        return Array(count, tuple(value for (value,) in form.iter_unpack(data)))

    def _tensors(self, count: int) -> tuple[Tensor, ...]:
        seen, tensors = set(), []
        for _ in range(count):
            name = self._text(_LONGEST_KEY_BYTES)
            if name in seen:
                self._refuse(f"has the tensor {name!r} twice")
            seen.add(name)
            tensors.append(self._tensor(name))
        return tuple(tensors)

    def _tensor(self, name: str) -> Tensor:
        dimensions = self._u32()
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            self._refuse(f"gives the tensor {name!r} {dimensions} dimensions")
        shape = tuple(self._u64() for _ in range(dimensions))
        kind, offset = self._u32(), self._u64()
        found = TENSOR_TYPES.get(kind)
        if found is None:
            self._refuse(f"holds the tensor {name!r} in a type ({kind}) that this version doesn't know")
        values = 1
        for width in shape:
            values *= width
        if values == 0 or shape[0] % found.block_values:
            self._refuse(f"has the tensor {name!r} of shape {shape}, which {found.name} can't hold")
        return Tensor(name, shape, found, offset, values // found.block_values * found.block_bytes)

    def _alignment(self, metadata: dict[str, Scalar | Array]) -> int:
        given = metadata.get("general.alignment", 32)
        if not isinstance(given, int) or not 8 <= given <= 2**20 or given & (given - 1):
            self._refuse(f"wants its tensors aligned at {given!r}")
        return given

    def _check_places(self, tensors: tuple[Tensor, ...], alignment: int) -> None:
        begins = -(-self._at // alignment) * alignment
        free_from = 0
        for tensor in sorted(tensors, key=lambda each: each.offset):
            if tensor.offset % alignment or tensor.offset < free_from:
                self._refuse(f"puts the tensor {tensor.name!r} where another one lies")
            free_from = tensor.offset + tensor.size_bytes
            if begins + free_from > self._size:
                missing = begins + free_from - self._size
                self._refuse(f"is cut off: the tensor {tensor.name!r} ends {missing:,} bytes after the file")

    def _text(self, longest_bytes: int) -> str:
        length = self._u64()
        if length > longest_bytes:
            self._refuse(f"has a text of {length:,} bytes")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            self._refuse("has a text that is not UTF-8")

    def _u32(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def _u64(self) -> int:
        return int.from_bytes(self._take(8), "little")

    def _take(self, count: int) -> bytes:
        self._check_left(count)
        self._at += count
        data = self._file.read(count)
        if len(data) != count:
            self._refuse("became shorter while it was read")
        return data

    def _skip(self, count: int) -> None:
        self._check_left(count)
        self._at += count
        self._file.seek(self._at)

    def _check_left(self, count: int) -> None:
        if count > self._end - self._at:
            self._refuse(
                "is cut off within its head"
                if self._end == self._size
                else "has a head larger than any model's"
            )

    def _refuse(self, what: str) -> NoReturn:
        raise ModelFileUnusable(f"{self._name} {what}.", next_step="Get the file again from where it came.")


_TEXT, _ARRAY = 8, 9
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
