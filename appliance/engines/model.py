"""One GGUF model in memory: its weights, its vocabulary and what it says of itself.

Nothing here changes after loading; tokenizing is safe from several threads at once.
"""

import ctypes
import glob
import hashlib
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from appliance.engines.llama import Pointer, llama
from appliance.engines.long_texts import WHOLE_BYTES, beginnings, parts_of
from appliance.engines.sampling_plan import SamplingDefaults, advised_sampling
from appliance.engines.served import ModelUnusable
from appliance.engines.vocabulary import DEMO_NAME_START, TextNotTokenizable
from appliance.errors import Broken
from appliance.models.bundle import Bundle, BundleFile, ModelFormat

_PIECE_BYTES = 256


class Model:
    """The loaded model. Raises ModelUnusable where the file can't be used.

    `configure` changes llama_model_params before the loading.
    """

    def __init__(self, path: Path, configure: Callable[[Pointer], None] | None = None) -> None:
        if not path.is_file():
            raise ModelUnusable(f"There is no model file at {path}.", next_step="Check the path.")
        self.path = path
        parameters = llama.llama_model_default_params()
        if configure:
            configure(parameters)
        self.handle = llama.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.handle:
            raise ModelUnusable(
                f"llama.cpp could not load {path}.",
                next_step="It must be a complete GGUF file of a known architecture.",
            )
        self.vocabulary = llama.llama_model_get_vocab(self.handle)
        self.vocabulary_size: int = llama.llama_vocab_n_tokens(self.vocabulary)
        self.context_tokens_trained: int = llama.llama_model_n_ctx_train(self.handle)
        self.embedding_width: int = llama.llama_model_n_embd_out(self.handle)
        self.name = self.metadata("general.name") or path.stem
        self.is_demo = self.name.startswith(DEMO_NAME_START)
        template = llama.llama_model_chat_template(self.handle, None)
        self.chat_template: str | None = template.decode() if template else None
        self.end_tokens = frozenset(
            token for token in range(self.vocabulary_size) if llama.llama_vocab_is_eog(self.vocabulary, token)
        )
        self.begin_token = self._token_or_none(llama.llama_vocab_bos)
        self.stop_token = self._token_or_none(llama.llama_vocab_eos)
        fill_in = (llama.llama_vocab_fim_pre, llama.llama_vocab_fim_suf, llama.llama_vocab_fim_mid)
        marks = [mark for ask in fill_in if (mark := self._token_or_none(ask)) is not None]
        self.fill_in_tokens = marks if len(marks) == len(fill_in) else None
        """Before the prefix, before the suffix, before the answer; None: not trained for it."""
        self.created = int(path.stat().st_mtime)
        self.sampling_defaults = self._sampling_defaults()
        self._pieces: dict[int, bytes] = {}

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory of one token in the KV cache at 16 bit, an upper bound (K and V of every layer)."""
        heads_q = max(1, llama.llama_model_n_head(self.handle))
        heads_kv = llama.llama_model_n_head_kv(self.handle)
        architecture = self.metadata("general.architecture") or ""
        given_width = self.metadata(f"{architecture}.attention.key_length")
        head_width = int(given_width or llama.llama_model_n_embd(self.handle) // heads_q)
        return int(2 * 2 * heads_kv * head_width * llama.llama_model_n_layer(self.handle))

    def metadata(self, key: str) -> str | None:
        """The value of a GGUF key as text; None where the file has no such key."""
        size = 512
        buffer = ctypes.create_string_buffer(size)
        length = llama.llama_model_meta_val_str(self.handle, key.encode(), buffer, size)
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    def tokenize(self, text: str, *, special: bool, begin: bool = False) -> list[int]:
        """Token ids of `text`.

        special: whether control tokens written out in the text count as such; only for text that the
        chat template made. begin: put the model's begin token in front where the model wants one.
        Raises TextNotTokenizable for lone surrogates.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise TextNotTokenizable("The text has lone surrogates, which no UTF-8 text can have.") from error
        tokens: list[int] = []
        for part in self._parts(data, special=special, begin=begin):
            tokens += self._tokenized(part, special=special, begin=begin and not tokens)
        return tokens

    def _parts(self, data: bytes, *, special: bool, begin: bool) -> list[bytes]:
        if len(data) <= WHOLE_BYTES:
            return [data]
        ends_too = begin and (
            llama.llama_vocab_get_add_eos(self.vocabulary) or llama.llama_vocab_get_add_sep(self.vocabulary)
        )
        where = self._beginnings_with_control if special else self._beginnings
        return [data] if ends_too or where is None else parts_of(data, where)

    def _tokenized(self, data: bytes, *, special: bool, begin: bool) -> list[int]:
        room = len(data) + 8
        tokens = (ctypes.c_int32 * room)()
        count = llama.llama_tokenize(self.vocabulary, data, len(data), tokens, room, begin, special)
        if count < 0:
            raise Broken("llama.cpp needs more tokens than bytes for a text.")
        return list(tokens[:count])

    @cached_property
    def _beginnings(self) -> re.Pattern[bytes] | None:
        return self._beginnings_of(llama.LLAMA_TOKEN_ATTR_USER_DEFINED)

    @cached_property
    def _beginnings_with_control(self) -> re.Pattern[bytes] | None:
        return self._beginnings_of(llama.LLAMA_TOKEN_ATTR_USER_DEFINED | llama.LLAMA_TOKEN_ATTR_CONTROL)

    def _beginnings_of(self, kinds: int) -> re.Pattern[bytes] | None:
        attributes = [
            llama.llama_vocab_get_attr(self.vocabulary, token) for token in range(self.vocabulary_size)
        ]
        return beginnings(
            llama.llama_vocab_get_text(self.vocabulary, token) or b""
            for token, attribute in enumerate(attributes)
            # one that takes the space before it off would find it in the part before
            if attribute & kinds and not attribute & llama.LLAMA_TOKEN_ATTR_LSTRIP
        )

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; they may end inside a UTF-8 character. Control tokens: none."""
        known = self._pieces.get(token)
        if known is None:
            buffer = ctypes.create_string_buffer(_PIECE_BYTES)
            length = llama.llama_token_to_piece(self.vocabulary, token, buffer, _PIECE_BYTES, 0, False)
            if length < 0:
                buffer = ctypes.create_string_buffer(-length)
                length = llama.llama_token_to_piece(self.vocabulary, token, buffer, -length, 0, False)
            known = self._pieces[token] = buffer.raw[:length]
        return known

    def token_text(self, token: int) -> str:
        """How the vocabulary writes a token, control tokens included."""
        text = llama.llama_vocab_get_text(self.vocabulary, token)
        return text.decode("utf-8", "replace") if text else ""

    def _token_or_none(self, ask: Callable[[Any], Any]) -> int | None:
        token = int(ask(self.vocabulary))
        return token if token >= 0 else None

    def sha256(self) -> str:
        """Of the file, or of the list of files where the model is cut into several: the bundle's digest."""
        files = [
            BundleFile(path=file.name, size_bytes=file.stat().st_size, sha256=_sha256(file))
            for file in _files_of(self.path)
        ]
        return Bundle(format=ModelFormat.GGUF, files=tuple(files)).digest

    def _sampling_defaults(self) -> SamplingDefaults:
        names = {"temperature": "temp", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
        return advised_sampling(
            {name: _number_or_none(self.metadata(f"general.sampling.{key}")) for name, key in names.items()}
        )


def _number_or_none(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _files_of(path: Path) -> list[Path]:
    """All of a model that is cut into NAME-00001-of-00003.gguf and so on; llama.cpp loads it by the first."""
    cut = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.gguf", path.name)
    return sorted(path.parent.glob(f"{glob.escape(cut[1])}-*-of-{cut[2]}.gguf")) if cut else [path]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
