"""The engine server: one process that holds one model and answers OpenAI-shaped requests.

A request goes through the modules in this order:
http (bytes in) → contract (is it well-formed?) → chat or completions (prompt tokens, sampling plan)
→ batcher (a place among the running sequences, token by token) → text (where may it be cut?)
→ answers (the OpenAI shape) → http (bytes out).

Only `contract` is for other packages; it imports nothing of the engine itself.
"""
