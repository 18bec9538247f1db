"""What the endpoints ask of a model's words: tokens, bytes, the chat template. Each engine has its own."""

from typing import Protocol

from appliance.engines.sampling_plan import SamplingDefaults
from appliance.errors import Refused

DEMO_NAME_START = "Cellule demo"


class TextNotTokenizable(Refused):
    code = "text_not_tokenizable"


class Vocabulary(Protocol):
    """Safe to use from several threads at once; nothing of it changes after loading."""

    @property
    def vocabulary_size(self) -> int: ...
    @property
    def end_tokens(self) -> frozenset[int]: ...
    @property
    def begin_token(self) -> int | None: ...
    @property
    def stop_token(self) -> int | None: ...
    @property
    def fill_in_tokens(self) -> list[int] | None:
        """Before the prefix, before the suffix, before the answer; None: not trained for it."""

    @property
    def chat_template(self) -> str | None:
        """A Jinja template."""

    @property
    def sampling_defaults(self) -> SamplingDefaults: ...
    @property
    def created(self) -> int:
        """Epoch seconds."""

    @property
    def is_demo(self) -> bool: ...

    def tokenize(self, text: str, *, special: bool, begin: bool = False) -> list[int]:
        """Token ids of `text`.

        special: whether control tokens written out in the text count as such; only for text that the
        chat template made. begin: put the model's begin token in front where the model wants one.
        Raises TextNotTokenizable for lone surrogates.
        """

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; they may end inside a UTF-8 character. Control tokens: none."""

    def token_text(self, token: int) -> str:
        """How the vocabulary writes a token, control tokens included."""
