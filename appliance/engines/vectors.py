"""How embeddings are answered, whichever engine made them."""

import base64
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from appliance.errors import Refused

Vector = NDArray[np.float32]
NOTHING: Vector = np.empty(0, np.float32)
"""Where a vector is still to come."""


class DimensionsNotOffered(Refused):
    code: ClassVar[str] = "dimensions_not_offered"


class NothingToEmbed(Refused):
    code: ClassVar[str] = "nothing_to_embed"


def check_dimensions(asked: int | None, width: int) -> None:
    """Raises DimensionsNotOffered: vectors are not cut."""
    if asked not in (None, width):
        raise DimensionsNotOffered(f"The vectors of this model have {width} dimensions.", param="dimensions")


def embedding_answer(name: str, vectors: Sequence[Vector], tokens: int, encoding: str) -> dict[str, Any]:
    """The OpenAI answer; `encoding`: float or base64, the little-endian 32-bit floats."""
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": name, "usage": usage}


def _encoded(vector: Vector, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]
