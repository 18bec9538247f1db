"""A byte-level BPE tokenizer learnt from the corpus, with the word splitting that llama.cpp calls "qwen2"."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from appliance.models.demo.chat_format import SPECIAL_TOKENS
from appliance.models.demo.corpus.conversations import new_conversation

VOCABULARY = 2560
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer; a token's place in `tokens` is its id."""

    tokens: list[str]
    merges: list[str]


def train_tokenizer(seed: int, conversations: int = 12_000) -> Tokenizer:
    """Ids 0, 1, 2 are <|endoftext|>, <|im_start|>, <|im_end|>."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    turns = (turn for _ in range(conversations) for turn in new_conversation(rng).turns)
    # The role names come with a line end, as in the chat format.
    texts = (text for turn in turns for text in ("user\n" + turn.question, "assistant\n" + turn.answer))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def read_vocabulary(tokenizer_json: Path) -> Vocabulary:
    model = json.loads(tokenizer_json.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return Vocabulary(tokens, [m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
