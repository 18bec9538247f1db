"""The network in plain torch: a qwen3 decoder as a dictionary of tensors under their GGUF names.

llama.cpp runs the same graph from the file (grouped-query attention, RMS norm on queries and keys,
rotary positions over the two halves of a head, SwiGLU, tied output), so nothing is renamed or
transposed on the way from training to the appliance.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    layers: int = 4
    hidden: int = 192
    feed_forward: int = 384
    heads: int = 3
    kv_heads: int = 3
    head_size: int = 64
    context_tokens: int = 4096
    rope_base: float = 10_000.0
    rms_epsilon: float = 1e-6


Parameters = dict[str, torch.Tensor]


def new_parameters(shape: Shape, seed: int) -> Parameters:
    """Random weights: matrices are [outputs, inputs] normal with std 0.02·√(256/inputs), norms are ones."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(outputs: int, inputs: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(outputs, inputs, generator=generator) * (scale * 0.02 * (256 / inputs) ** 0.5)

    parameters = {
        "token_embd.weight": matrix(shape.vocabulary, shape.hidden),
        "output_norm.weight": torch.ones(shape.hidden),
    }
    query, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    residual = (2 * shape.layers) ** -0.5
    for layer in range(shape.layers):
        parameters |= {
            f"blk.{layer}.{name}.weight": tensor
            for name, tensor in {
                "attn_norm": torch.ones(shape.hidden),
                "attn_q": matrix(query, shape.hidden),
                "attn_k": matrix(kv, shape.hidden),
                "attn_v": matrix(kv, shape.hidden),
                "attn_q_norm": torch.ones(shape.head_size),
                "attn_k_norm": torch.ones(shape.head_size),
                "attn_output": matrix(shape.hidden, query, residual),
                "ffn_norm": torch.ones(shape.hidden),
                "ffn_gate": matrix(shape.feed_forward, shape.hidden),
                "ffn_up": matrix(shape.feed_forward, shape.hidden),
                "ffn_down": matrix(shape.hidden, shape.feed_forward, residual),
            }.items()
        }
    _lay_out_copying(parameters, shape, generator)
    return {name: tensor.requires_grad_() for name, tensor in parameters.items()}


def _lay_out_copying(p: Parameters, shape: Shape, generator: torch.Generator) -> None:
    """Starts two heads as an induction pair (arXiv 2209.11895), which so short a training may not find.

    Head 0 of layer 0 looks at the token before and writes its projection `past` where nothing else is.
    Head 0 of layer 1 looks for places whose token before is the current one, by the slow rotary
    frequencies that hardly see distance, and adds the token found there to what is predicted.
    """
    size, half = shape.head_size, shape.head_size // 2
    basis = torch.linalg.qr(torch.randn(shape.hidden, shape.hidden, generator=generator)).Q
    basis[0] = 0  # dimension 0 of the embedding is the same for every token: something to look by
    present, past = basis[:, :size], basis[:, size : 2 * size]
    p["token_embd.weight"][:, 0] = 0.08

    turn = shape.rope_base ** (-torch.arange(4, dtype=torch.float32) / half)
    query, key = torch.zeros(size), torch.zeros(size)
    query[:4], query[half : half + 4], key[:4] = turn.cos(), -turn.sin(), 1.0
    for name, vector in (("attn_q", query), ("attn_k", key)):
        p[f"blk.0.{name}.weight"][:size] = 0
        p[f"blk.0.{name}.weight"][:size, 0] = vector
    p["blk.0.attn_v.weight"][:size] = present.T
    p["blk.0.attn_output.weight"][:, :size] = 0.035 * past

    slow = torch.cat((torch.arange(half // 2, half), torch.arange(half + half // 2, size)))
    for name, reads in (("attn_q", present), ("attn_k", past)):
        rows = torch.zeros(size, shape.hidden)
        rows[slow] = reads.T[: len(slow)]
        p[f"blk.1.{name}.weight"][:size] = rows
    p["blk.1.attn_v.weight"][:size] = present.T
    p["blk.1.attn_output.weight"][:, :size] = 0.15 * present
    for layer in (0, 1):
        p[f"blk.{layer}.attn_q_norm.weight"] *= 1.5
        p[f"blk.{layer}.attn_k_norm.weight"] *= 1.5


def hidden_states(p: Parameters, shape: Shape, ids: torch.Tensor) -> torch.Tensor:
    """ids [batch, time] → normed states [batch, time, hidden]; times token_embd transposed: logits."""
    cos, sin = _rotary(shape, ids.shape[1])
    x = F.embedding(ids, p["token_embd.weight"])
    for layer in range(shape.layers):
        block = {name: p[f"blk.{layer}.{name}.weight"] for name in _BLOCK}
        x = x + _attention(block, shape, _norm(x, block["attn_norm"], shape), cos, sin)
        h = _norm(x, block["ffn_norm"], shape)
        x = x + F.linear(
            F.silu(F.linear(h, block["ffn_gate"])) * F.linear(h, block["ffn_up"]), block["ffn_down"]
        )
    return _norm(x, p["output_norm.weight"], shape)


_BLOCK = (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_q_norm", "attn_k_norm", "attn_output",
    "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
)  # fmt: skip


def _norm(x: torch.Tensor, weight: torch.Tensor, shape: Shape) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), shape.rms_epsilon)


def _rotary(shape: Shape, time: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [time, head_size] of rotary position embedding (arXiv 2104.09864), halves layout."""
    half = shape.head_size // 2
    frequency = shape.rope_base ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.outer(torch.arange(time, dtype=torch.float32), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)


def _attention(
    block: Parameters, shape: Shape, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    batch, time, _ = x.shape

    def heads(name: str) -> torch.Tensor:
        return F.linear(x, block[name]).view(batch, time, -1, shape.head_size).transpose(1, 2)

    q = _rotate(_norm(heads("attn_q"), block["attn_q_norm"], shape), cos, sin)
    k = _rotate(_norm(heads("attn_k"), block["attn_k_norm"], shape), cos, sin)
    v = heads("attn_v")
    share = shape.heads // shape.kv_heads
    mixed = F.scaled_dot_product_attention(
        q, k.repeat_interleave(share, 1), v.repeat_interleave(share, 1), is_causal=True
    )
    return F.linear(mixed.transpose(1, 2).reshape(batch, time, -1), block["attn_output"])
