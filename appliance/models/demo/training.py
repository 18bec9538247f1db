"""Trains the network on generated conversations: one epoch of an endless corpus, one CPU thread, bfloat16.

The loss counts the assistant's words only. Most answers are cut after a few tokens, for the choice
of the answer is what is hard and its remaining words are soon known by heart; this makes the same
minute of processor time show three times as many questions.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from appliance.models.demo.chat_format import END, START
from appliance.models.demo.corpus.conversations import Conversation, new_conversation
from appliance.models.demo.network import Parameters, Shape, hidden_states, new_parameters

logger = logging.getLogger(__name__)
IGNORED = -100
OPENING_TOKENS = 4


@dataclass(frozen=True)
class Schedule:
    steps: int
    tokens_per_batch: int = 2048
    longest_example_tokens: int = 4096
    warm_up_steps: int = 60
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    opening_weight: float = 4.0
    """How much more the first OPENING_TOKENS of an answer count: there the answer is chosen."""
    kept_whole: float = 0.25
    """This share of the last answers is not cut short."""
    one_turn_share: float = 0.4
    """Until then conversations have one turn: they cost least and teach to tell questions apart."""
    seed: int = 7


FURTHER = Schedule(
    steps=0,
    matrix_rate=0.01,
    other_rate=1.5e-3,
    opening_weight=6.0,
    kept_whole=0.3,
    one_turn_share=0.35,
    seed=8,
)
"""For a second training of the same parameters: other text, smaller steps, openings first."""


@dataclass(frozen=True)
class Example:
    """Token ids and, for each, the id to predict there (the next one) or IGNORED, and its weight."""

    ids: list[int]
    targets: list[int]
    weights: list[float]


def train(
    tokenizer: Tokenizer,
    shape: Shape,
    schedule: Schedule,
    checkpoint: Path,
    *,
    resume: bool = False,
    seconds: float | None = None,
) -> int:
    """Saves the trained parameters to `checkpoint`, now and then and at the end; returns the steps made.

    It begins with new parameters, or with those of `checkpoint` in order to `resume`.
    `seconds` ends the schedule after that time instead of `schedule.steps`, where speed varies.
    The learning rate stays for two fifths of the schedule and then falls to zero.
    """
    torch.set_num_threads(1)
    torch.manual_seed(schedule.seed)
    parameters: Parameters = torch.load(checkpoint) if resume else new_parameters(shape, schedule.seed)
    optimizers = _optimizers(parameters, schedule)
    started = time.monotonic()
    losses: list[float] = []
    progress = 0.0
    batches = _batches(tokenizer, schedule, lambda: progress < schedule.one_turn_share)
    for step, (ids, targets, weights) in enumerate(batches):
        progress = step / schedule.steps if seconds is None else (time.monotonic() - started) / seconds
        if progress >= 1:
            break
        _set_rate(optimizers, min(1.0, (step + 1) / schedule.warm_up_steps) * min(1.0, (1 - progress) / 0.6))
        loss = answer_loss(parameters, shape, ids, targets, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            mean = sum(losses) / len(losses)
            logger.info("step %d  loss %.4f  %.0f s", step + 1, mean, time.monotonic() - started)
            losses.clear()
        if step % 400 == 399:
            torch.save(parameters, checkpoint)
    torch.save(parameters, checkpoint)
    return step


def answer_loss(
    parameters: Parameters, shape: Shape, ids: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted mean cross-entropy over the places of `targets` [batch, time] that are not IGNORED."""
    places = targets != IGNORED
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = hidden_states(parameters, shape, ids)[places]
        logits = F.linear(states, parameters["token_embd.weight"])
    losses = F.cross_entropy(logits.float(), targets[places], reduction="none")
    return (losses * weights[places]).sum() / weights[places].sum()


def encode(
    tokenizer: Tokenizer, conversation: Conversation, rng: random.Random, schedule: Schedule
) -> Example:
    """The conversation as an example; its last answer is mostly cut short."""
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    newline = tokenizer.encode("\n").ids

    def plain(role: str, content: str) -> list[int]:
        return [start, *tokenizer.encode(f"{role}\n{content}").ids, end, *newline]

    ids: list[int] = plain("system", conversation.system) if conversation.system else []
    targets = [IGNORED] * len(ids)
    weights = [0.0] * len(ids)
    for turn in conversation.turns:
        question = [*plain("user", turn.question), start, *tokenizer.encode("assistant\n").ids]
        answer = [*tokenizer.encode(turn.answer).ids, end]
        is_last = turn is conversation.turns[-1]
        if is_last and turn.translation and rng.random() >= schedule.kept_whole:
            answer = answer[: rng.randint(4, 12)]
        after = [] if is_last else newline
        silent = [IGNORED] * (1 + len(after))
        targets += [IGNORED] * (len(question) - 1) + answer + silent
        opening = [schedule.opening_weight] * OPENING_TOKENS + [1.0] * len(answer)
        weights += [0.0] * (len(question) - 1) + opening[: len(answer)] + [0.0] * len(silent)
        ids += question + answer + after
    return Example(ids, targets, weights)


def _batches(
    tokenizer: Tokenizer, schedule: Schedule, one_turn: Callable[[], bool]
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Endless batches of examples of like length, so that little of a batch is padding."""
    rng = random.Random(schedule.seed)
    while True:
        conversations = (new_conversation(rng, one_turn=one_turn()) for _ in range(2048))
        examples = [encode(tokenizer, c, rng, schedule) for c in conversations]
        examples = [e for e in examples if len(e.ids) <= schedule.longest_example_tokens]
        examples.sort(key=lambda e: len(e.ids))
        batches: list[list[Example]] = [[]]
        for example in examples:
            if (len(batches[-1]) + 1) * len(example.ids) > schedule.tokens_per_batch:
                batches.append([])
            batches[-1].append(example)
        rng.shuffle(batches)
        yield from (padded(batch) for batch in batches)


def padded(batch: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, targets, weights), each [batch, longest]; attention is causal, so padding after is harmless."""
    longest = max(len(example.ids) for example in batch)
    ids = [example.ids + [0] * (longest - len(example.ids)) for example in batch]
    targets = [example.targets + [IGNORED] * (longest - len(example.ids)) for example in batch]
    weights = [example.weights + [0.0] * (longest - len(example.ids)) for example in batch]
    return torch.tensor(ids), torch.tensor(targets), torch.tensor(weights)


def _optimizers(parameters: Parameters, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings and norms."""
    matrices = [p for name, p in parameters.items() if p.ndim == 2 and name.startswith("blk")]
    others = [p for name, p in parameters.items() if p.ndim == 1 or not name.startswith("blk")]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=schedule.matrix_rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=schedule.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full_rate"] = group["lr"]
    return optimizers


def _set_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * factor
