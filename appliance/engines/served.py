"""What every engine gives to the server above it: a name, paths that answer, its health.

One class for each way to compute (llama.cpp, OpenVINO, a server that somebody else runs) keeps to `Served`;
`http` and `__main__` know nothing else of it. The same contract tests run against each.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

from appliance.engines.exchange import Exchange
from appliance.errors import Broken, Refused, TryAgain

REAL_MODEL_HINT = (
    "This is the demo model: it knows the appliance and little else. An admin can bring a real one."
)

Answer = Callable[[Exchange], Awaitable[None]]
"""Answers one POST request, or raises a Refusal."""


class ContextLengthExceeded(Refused):
    code: ClassVar[str] = "context_length_exceeded"


class PromptTooLongHere(Refused):
    """The model could take the prompt, this engine on its device can't: another node may."""

    code: ClassVar[str] = "prompt_too_long_here"


class PromptTooShortHere(Refused):
    """The same, for a prompt that this engine's device would mistake for something else."""

    code: ClassVar[str] = "prompt_too_short_here"


class ModelNotFound(Refused):
    code: ClassVar[str] = "model_not_found"
    http_status: ClassVar[int] = 404


class PromptEmpty(Refused):
    code: ClassVar[str] = "prompt_empty"


class TokenUnknown(Refused):
    code: ClassVar[str] = "token_unknown"


class ParameterNotOffered(Refused):
    """The contract has the parameter, this engine can't honour it, and says so by its name."""

    code: ClassVar[str] = "parameter_not_offered"


class ModelUnusable(Broken):
    """The files are missing, cut off, or nothing that this engine can read. Nothing is served."""

    code: ClassVar[str] = "model_unusable"


class EngineBusy(TryAgain):
    code: ClassVar[str] = "engine_busy"
    http_status: ClassVar[int] = 429


class TooManyChoices(Refused):
    """More than this engine could take if nobody else asked it: repeating would never help."""

    code: ClassVar[str] = "too_many_choices"


class SettingUnknown(Refused):
    """A hwprofile names a setting that this engine does not have: a typo would cost speed in silence."""

    code: ClassVar[str] = "setting_unknown"


class SettingUnusable(Refused):
    """A hwprofile gives a setting a value that it can't have."""

    code: ClassVar[str] = "setting_unusable"


class EngineStarting(TryAgain):
    code: ClassVar[str] = "engine_starting"
    http_status: ClassVar[int] = 503
    openai_type: ClassVar[str] = "server_error"


class Served(Protocol):
    """A loaded model. Made in a thread, for loading takes seconds; then `warm_up`, then `ready`."""

    name: str

    @property
    def ready(self) -> bool:
        """Whether it may be asked now."""

    @property
    def endpoints(self) -> Mapping[str, Answer]:
        """The paths that answer POST."""

    @property
    def is_alive(self) -> bool:
        """False when work waits and nothing has moved for a minute."""

    async def warm_up(self) -> None:
        """Makes one real answer, and is `ready` if that went well."""

    def health(self) -> dict[str, Any]:
        """As EngineReport of enrolment reads it: ready, model, slots, busy, waiting, context_tokens,
        prompt_tokens (the longest prompt, 0: as the context allows), tokens_per_second, kind, engine …

        `trouble`, where there is one, is a sentence that says why it is not ready.
        """

    def listed(self) -> dict[str, Any]:
        """The model as /v1/models shows it."""


def check_model_name(name: str, served: str) -> None:
    """Raises ModelNotFound unless the request's model is the one that is `served`."""
    if name != served:
        raise ModelNotFound(f"There is no model {name[:200]!r} here, only {served!r}.", param="model")


def check_prompt_limit(prompt_tokens: int, limit: int, param: str) -> None:
    """Raises PromptTooLongHere above `limit`, which is 0 where there is none."""
    if limit and prompt_tokens > limit:
        raise PromptTooLongHere(
            f"The prompt has {prompt_tokens} tokens; this engine takes {limit}.",
            param=param,
            next_step="Shorten it, or ask a node that takes longer prompts.",
        )


def check_choices(asked: int, most: int) -> None:
    """Raises TooManyChoices above `most`, an engine's slots and the places of those who wait."""
    if asked > most:
        raise TooManyChoices(
            f"The request asks for {asked} answers; this engine takes {most} at once.",
            param="n",
            next_step="Ask for fewer: n for each prompt.",
        )


def listing(name: str, created: int, *, is_demo: bool = False) -> dict[str, Any]:
    """A model object of OpenAI; `created` in epoch seconds."""
    model: dict[str, Any] = {"id": name, "object": "model", "created": created, "owned_by": "cellule"}
    if is_demo:
        model |= {"demo": True, "description": REAL_MODEL_HINT}
    return model
