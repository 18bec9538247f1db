"""The four families of refusal, named by what the caller should do next.

Each concrete error is a subclass defined beside the code that raises it; it carries a stable `code`,
a sentence for a person, what to do next, and the HTTP status that a front shows it with.
"""

from typing import ClassVar


class Refusal(Exception):
    """Base of the four families; never raised itself."""

    code: ClassVar[str] = "refused"
    http_status: ClassVar[int] = 400
    openai_type: ClassVar[str] = "invalid_request_error"

    def __init__(self, sentence: str, *, next_step: str = "", param: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.next_step = next_step
        self.param = param

    def __str__(self) -> str:
        return f"{self.sentence} {self.next_step}".strip()


class Refused(Refusal):
    """Change your request: it can never succeed as it is."""


class TryAgain(Refusal):
    """Nothing is wrong with the request; repeat it after `retry_after_seconds`."""

    code: ClassVar[str] = "try_again"
    http_status: ClassVar[int] = 429
    openai_type: ClassVar[str] = "rate_limit_error"

    def __init__(
        self, sentence: str, *, retry_after_seconds: float, next_step: str = "", param: str | None = None
    ) -> None:
        super().__init__(sentence, next_step=next_step, param=param)
        self.retry_after_seconds = retry_after_seconds


class NotTrusted(Refusal):
    """Stop: a signature, key or identity is wrong."""

    code: ClassVar[str] = "not_trusted"
    http_status: ClassVar[int] = 401
    openai_type: ClassVar[str] = "authentication_error"


class Broken(Refusal):
    """Our own bug, or a machine that failed."""

    code: ClassVar[str] = "broken"
    http_status: ClassVar[int] = 500
    openai_type: ClassVar[str] = "server_error"


def openai_error(error: Refusal) -> dict[str, dict[str, str | None]]:
    """The OpenAI error object of a refusal: {"error": {message, type, param, code}}."""
    return {
        "error": {
            "message": str(error),
            "type": error.openai_type,
            "param": error.param,
            "code": error.code,
        }
    }
