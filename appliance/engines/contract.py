"""What may be asked of an engine: the OpenAI request bodies, strict.

Every parameter is honoured or refused by name: an unknown one, a wrong type or a value out of range is
never ignored. A null counts as absent. What only labels a request (user, metadata …) is accepted; what
would change the answer in a way that this engine can't is accepted only with the value that asks for
nothing.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

TokenId = Annotated[int, Field(ge=0)]
Tokens = Annotated[list[TokenId], Field(fail_fast=True)]
StopString = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Grammar = Annotated[str, StringConstraints(min_length=1, max_length=65536, pattern=r"^[^\x00]*$")]
"""llama.cpp would read up to the first NUL, and take an empty one for none."""
TokenIdText = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,9})$")]
"""In one way of writing only: two biases on one token would be one."""
LogitBias = Annotated[float, Field(ge=-100, le=100)]
MAX_CHOICES = 16
MAX_STOP_STRINGS = 4
MAX_EMBEDDING_INPUTS = 2048
StopStrings = Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOP_STRINGS)]


_MOST_FIELDS = 100
"""More than any object here has. Of megabytes that are all wrong, telling each error would hold up everybody:
so lists end at their first, too (fail_fast)."""
_MOST_ENTRIES = 4096


class Strict(BaseModel):
    """Unknown names are errors; nulls are dropped before anything is looked at."""

    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: object) -> object:
        if isinstance(given, dict):
            if len(given) > _MOST_FIELDS:
                raise PydanticCustomError("too_many_fields", "there are far too many fields")
            return {name: value for name, value in given.items() if value is not None}
        return given


def _unfit(param: str, sentence: str) -> PydanticCustomError:
    """Parameters that don't go together; `param` is the one to change."""
    return PydanticCustomError("unfit", sentence, {"param": param})


def _few(given: object) -> object:
    if isinstance(given, dict) and len(given) > _MOST_ENTRIES:
        raise PydanticCustomError("too_long", f"at most {_MOST_ENTRIES} entries are taken")
    return given


Few = BeforeValidator(_few)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class SamplingFields(Strict):
    """The parameters that chat and plain completions share."""

    model: str
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0: always the likeliest token. Left out: what the model's file recommends, else 1."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    """As llama.cpp: draw among the k likeliest only; 0: all."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """As llama.cpp: drop what is less likely than this share of the likeliest."""
    presence_penalty: float = Field(default=0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0, ge=-2, le=2)
    logit_bias: Annotated[dict[TokenIdText, LogitBias], Few] = Field(default_factory=dict)
    """Token id, as text, to what is added to its logit."""
    seed: Seed | None = None
    stop: StopString | StopStrings = Field(default_factory=list)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    grammar: Grammar | None = None
    """As llama.cpp: GBNF with the rule `root`."""
    ignore_eos: bool = False
    """As llama.cpp: go on after an end token; for measuring speed."""
    user: str | None = None

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> "SamplingFields":
        if self.stream_options and not self.stream:
            raise _unfit("stream_options", "stream_options is only for stream=true")
        return self


class TextPart(Strict):
    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, given: object) -> object:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise _unfit("messages", "only parts of type text are taken: no model here sees or hears")
        return given


Content = str | Annotated[list[TextPart], Field(fail_fast=True)]


class FunctionCall(Strict):
    name: str
    arguments: str
    """JSON text."""


class ToolCall(Strict):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class SystemMessage(Strict):
    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(Strict):
    role: Literal["user"]
    content: Content
    name: str | None = None


class AssistantMessage(Strict):
    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list, fail_fast=True)
    annotations: list[Any] = Field(default_factory=list, max_length=0)
    audio: None = None
    function_call: None = None


class ToolMessage(Strict):
    role: Literal["tool"]
    content: Content
    tool_call_id: str


Message = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class FunctionDefinition(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool = False
    """Where a call is forced, arguments are held to the parameters anyway, beside response_format with this;
    in free text they are as the model writes them."""


class Tool(Strict):
    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Strict):
    name: str


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Strict):
    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)
    description: str | None = None
    strict: bool = False


class TextFormat(Strict):
    type: Literal["text"]


class JsonObjectFormat(Strict):
    type: Literal["json_object"]


class JsonSchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class ChatRequest(SamplingFields):
    """POST /v1/chat/completions"""

    messages: list[Message] = Field(min_length=1, fail_fast=True)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] = Field(default_factory=list, max_length=128, fail_fast=True)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool = True
    # labels, and values that ask for nothing
    metadata: Annotated[dict[str, str], Few] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    store: Literal[False] = False
    service_tier: Literal["auto", "default"] = "auto"
    modalities: list[Literal["text"]] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise _unfit("top_logprobs", "top_logprobs needs logprobs=true")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise _unfit("max_tokens", "give max_completion_tokens or max_tokens, not both")
        if self.tool_choice not in (None, "none") and not self.tools:
            raise _unfit("tool_choice", "tool_choice needs tools")
        return self


class CompletionRequest(SamplingFields):
    """POST /v1/completions"""

    prompt: (
        str
        | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_CHOICES)]
        | Annotated[list[TokenId], Field(fail_fast=True, min_length=1)]
        | Annotated[list[Tokens], Field(fail_fast=True, min_length=1, max_length=MAX_CHOICES)]
    )
    max_tokens: int = Field(default=16, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=5)
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _belongs_together(self) -> "CompletionRequest":
        if self.best_of is not None and self.best_of != self.n:
            raise _unfit("best_of", "best_of other than n is not offered: ask for n choices and compare them")
        if self.echo and self.logprobs is not None:
            raise _unfit("echo", "echo with logprobs is not offered: the prompt has no log-probabilities")
        if self.echo and self.suffix is not None:
            raise _unfit("echo", "echo and suffix exclude each other")
        return self


class EmbeddingRequest(Strict):
    """POST /v1/embeddings"""

    model: str
    input: (
        str
        | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_EMBEDDING_INPUTS)]
        | Annotated[list[TokenId], Field(fail_fast=True, min_length=1)]
        | Annotated[list[Tokens], Field(fail_fast=True, min_length=1, max_length=MAX_EMBEDDING_INPUTS)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None
