"""POST /v1/embeddings: texts or token ids in, one vector of unit length for each out."""

import asyncio

from appliance.engines.completions import prompts_of
from appliance.engines.contract import EmbeddingRequest
from appliance.engines.embedder import steps
from appliance.engines.engine import Engine
from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.metrics import Outcome
from appliance.engines.served import ContextLengthExceeded
from appliance.engines.vectors import NOTHING, NothingToEmbed, Vector, check_dimensions, embedding_answer


async def embeddings(exchange: Exchange, engine: Engine) -> None:
    request = await exchange.body_as(EmbeddingRequest)
    engine.check_model_name(request.model)
    check_dimensions(request.dimensions, engine.model.embedding_width)
    inputs = await prompts_of(request.input, engine)
    for tokens in inputs:
        _check(tokens, engine)
    leaving = asyncio.ensure_future(exchange.left())
    try:
        vectors: list[Vector] = [NOTHING] * len(inputs)
        for together in steps([len(tokens) for tokens in inputs], engine.embedder.batch_tokens):
            made = await asyncio.to_thread(engine.embedder.embed, [inputs[place] for place in together])
            for place, vector in zip(together, made, strict=True):
                vectors[place] = vector
            if leaving.done():
                engine.metrics.requests.labels(Outcome.CANCELLED).inc()
                raise ClientLeft
    finally:
        leaving.cancel()
    used = sum(map(len, inputs))
    engine.metrics.prompt_tokens.inc(used)
    engine.metrics.requests.labels(Outcome.ANSWERED).inc()
    await exchange.answer(200, embedding_answer(engine.name, vectors, used, request.encoding_format))


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
