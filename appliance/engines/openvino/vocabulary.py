"""A model's words as OpenVINO's tokenizer has them.

OpenVINO takes a control token written out in a text for the token itself. Where that must not be (what a
caller wrote), such a place is cut in two before it is tokenized: it then stays text.
"""

import re
from functools import cached_property
from typing import Any

from appliance.engines.openvino.files import ModelFiles
from appliance.engines.openvino.padding import tokenized_together
from appliance.engines.sampling_plan import SamplingDefaults
from appliance.engines.vocabulary import DEMO_NAME_START, TextNotTokenizable

_LOOKS_LIKE_CONTROL = re.compile(rb"<[^<>\s]+>|\[[A-Z_]+\]|<\xef\xbd\x9c.*\xef\xbd\x9c>")
_BYTE_PIECE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
_SENTENCEPIECE_SPACE = "▁".encode()


class TokenizerVocabulary:
    """A `Vocabulary` over genai.Tokenizer."""

    fill_in_tokens: list[int] | None = None

    def __init__(self, tokenizer: Any, files: ModelFiles, stop_tokens: frozenset[int]) -> None:  # noqa: ANN401
        self.tokenizer = tokenizer
        pieces = {token: piece for piece, token in tokenizer.get_vocab().items()}
        self.vocabulary_size = max(pieces) + 1
        self.begin_token = _token_or_none(tokenizer.get_bos_token_id())
        self.stop_token = _token_or_none(tokenizer.get_eos_token_id())
        self.control = _control_tokens(tokenizer, pieces)
        ends = {token for token in (self.stop_token,) if token is not None}
        ends |= {token for token, piece in self.control.items() if piece in _END_NAMES}
        self.end_tokens = frozenset(ends | stop_tokens)
        self.chat_template: str | None = tokenizer.get_original_chat_template() or None
        self.sampling_defaults: SamplingDefaults = files.sampling_defaults
        self.created = files.created
        self.is_demo = files.name.startswith(DEMO_NAME_START)
        self._pieces = _bytes_of(pieces, self.control)

    def tokenize(self, text: str, *, special: bool, begin: bool = False) -> list[int]:
        """As Vocabulary.tokenize."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextNotTokenizable("The text has lone surrogates, which no UTF-8 text can have.") from error
        first, *others = [text] if special else self._without_control(text)
        tokens: list[int] = []
        if first or begin:
            tokens += self.tokenizer.encode(first, add_special_tokens=begin).input_ids.data[0].tolist()
        return tokens + [token for part in self._tokenized(others) for token in part]

    def _tokenized(self, parts: list[str]) -> list[list[int]]:
        """Each part's tokens, many parts at once: a call for each would take minutes of a long text."""
        tokens: list[list[int]] = [[]] * len(parts)
        for together in tokenized_together([len(part.encode()) for part in parts]):
            encoded = self.tokenizer.encode([parts[place] for place in together], add_special_tokens=False)
            rows = zip(encoded.input_ids.data, encoded.attention_mask.data, strict=True)
            for place, (row, mask) in zip(together, rows, strict=True):
                tokens[place] = row[mask == 1].tolist()
        return tokens

    def piece(self, token: int) -> bytes:
        return self._pieces.get(token, b"")

    def token_text(self, token: int) -> str:
        return (self.control.get(token) or self._pieces.get(token, b"")).decode("utf-8", "replace")

    def _without_control(self, text: str) -> list[str]:
        """`text` cut inside of every control token that is written in it."""
        if self._written is None:
            return [text]
        cuts = [match.start() + 1 for match in self._written.finditer(text)]
        return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    @cached_property
    def _written(self) -> re.Pattern[str] | None:
        written = [piece.decode("utf-8", "replace") for piece in self.control.values() if len(piece) > 1]
        return re.compile("|".join(map(re.escape, written))) if written else None


_END_NAMES = frozenset(
    {b"<|im_end|>", b"<|endoftext|>", b"<|eot_id|>", b"<|end_of_text|>", b"<|eom_id|>", b"</s>", b"<|end|>"}
)
"""What ends an answer, whichever of them the file names as its end token."""


def _token_or_none(token: int) -> int | None:
    return token if token >= 0 else None


def _control_tokens(tokenizer: Any, pieces: dict[int, bytes]) -> dict[int, bytes]:  # noqa: ANN401
    """Those that the detokenizer leaves out of a text."""
    likely = [token for token, piece in pieces.items() if _LOOKS_LIKE_CONTROL.fullmatch(piece)]
    if not likely:
        return {}
    texts = tokenizer.decode([[token] for token in likely], skip_special_tokens=True)
    return {token: pieces[token] for token, text in zip(likely, texts, strict=True) if not text}


def _bytes_of(pieces: dict[int, bytes], control: dict[int, bytes]) -> dict[int, bytes]:
    """What each token adds to a text: none for control tokens; SentencePiece's marks undone."""
    plain = {token: piece for token, piece in pieces.items() if token not in control}
    if b"<0x0A>" not in plain.values():
        return plain
    return {token: _from_sentencepiece(piece) for token, piece in plain.items()}


def _from_sentencepiece(piece: bytes) -> bytes:
    byte = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(_SENTENCEPIECE_SPACE, b" ")
