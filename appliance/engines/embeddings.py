"""POST /v1/embeddings: texts or token ids in, one vector of unit length for each out."""

import asyncio
import base64
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from appliance.engines.completions import prompts_of
from appliance.engines.contract import EmbeddingRequest
from appliance.engines.engine import Engine
from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.metrics import Outcome
from appliance.engines.served import ContextLengthExceeded
from appliance.errors import Refused


class DimensionsNotOffered(Refused):
    code: ClassVar[str] = "dimensions_not_offered"


class NothingToEmbed(Refused):
    code: ClassVar[str] = "nothing_to_embed"


async def embeddings(exchange: Exchange, engine: Engine) -> None:
    request = await exchange.body_as(EmbeddingRequest)
    engine.check_model_name(request.model)
    width = engine.model.embedding_width
    if request.dimensions not in (None, width):
        raise DimensionsNotOffered(f"The vectors of this model have {width} dimensions.", param="dimensions")
    inputs = await prompts_of(request.input, engine)
    for tokens in inputs:
        _check(tokens, engine)
    leaving = asyncio.ensure_future(exchange.left())
    try:
        vectors = []
        for tokens in inputs:
            vectors.append(await asyncio.to_thread(engine.embedder.embed, tokens))
            if leaving.done():
                engine.metrics.requests.labels(Outcome.CANCELLED).inc()
                raise ClientLeft
    finally:
        leaving.cancel()
    used = sum(map(len, inputs))
    engine.metrics.prompt_tokens.inc(used)
    engine.metrics.requests.labels(Outcome.ANSWERED).inc()
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, request.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": used, "total_tokens": used}
    await exchange.answer(200, {"object": "list", "data": data, "model": engine.name, "usage": usage})


def _check(tokens: list[int], engine: Engine) -> None:
    if not tokens:
        raise NothingToEmbed("An input is empty.", param="input")
    if len(tokens) > engine.embedder.max_tokens:
        raise ContextLengthExceeded(
            f"An input has {len(tokens)} tokens; {engine.embedder.max_tokens} can be embedded at once.",
            param="input",
            next_step="Cut the text into parts.",
        )
    engine.check_tokens(tokens, "input")


def _encoded(vector: NDArray[np.float32], encoding: str) -> str | list[float]:
    """base64: the little-endian 32-bit floats, as OpenAI does."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]
