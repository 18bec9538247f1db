"""The data plane: the OpenAI front at /v1, from a caller's request to the ledger line.

The way of a request, one module a step: admit → queue → route → relay → meter.
One process holds it all, so the queue is fair between all callers and a free slot is given out once.
"""
