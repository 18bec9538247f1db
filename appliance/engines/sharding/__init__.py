"""One model on several nodes: llama.cpp's RPC between a head, which answers, and parts, which lend memory.

A part (`python -m appliance.engines.sharding`) holds some layers and computes them for whoever calls. The
protocol knows neither passwords nor encryption, so a part listens inside the tunnel only. The head is an
engine like any other whose model is split: `split` says who holds what, `checking` asks each part before
anything is loaded, `watching` ends the process with a reason when a part is lost, for llama.cpp can't go on
without it. That is why a split model always has a process of its own.

`parts` and `status` load no engine: agent, head and part share them.
"""
