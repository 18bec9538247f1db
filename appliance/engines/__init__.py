"""The engine server: one process that holds one model and answers OpenAI-shaped requests.

`loading` makes a `Served` of what was asked for (`options`): llama.cpp's `engine`, or another way to compute.
A request to llama.cpp goes through the modules in this order:
http (bytes in) → contract (is it well-formed?) → chat or completions (prompt tokens, sampling plan)
→ batcher (a place among the running sequences, token by token) → text (where may it be cut?)
→ answers (the OpenAI shape) → http (bytes out).

Only `contract`, `options` and `adopted.finding` with its table are for other packages; they import nothing of
an engine.
"""
