"""How a reranking is answered, whichever engine scored it: as Cohere does, with OpenAI's usage beside."""

import uuid
from collections.abc import Sequence
from typing import Any

from appliance.engines.kinds_contract import RerankRequest


def rerank_answer(request: RerankRequest, scores: Sequence[float], tokens: int) -> dict[str, Any]:
    """The best first; among equal scores the one that was given first."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results = []
    for index in order[: request.top_n]:
        result: dict[str, Any] = {"index": index, "relevance_score": scores[index]}
        if request.return_documents:
            result["document"] = {"text": request.texts[index]}
        results.append(result)
    return {
        "id": f"rerank-{uuid.uuid4().hex}",
        "object": "list",
        "model": request.model,
        "results": results,
        "meta": {"tokens": {"input_tokens": tokens}},
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
