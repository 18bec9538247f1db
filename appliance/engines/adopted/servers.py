"""The servers that may be adopted: their usual ports, and what each can't do of our contract. Data only.

What a server would ignore, or answer in another shape than OpenAI's, is refused by name before it is asked.
Several choices or prompts are asked for one by one: most servers miscount their tokens, or ignore n.
Each entry tells by what it was written; a server of an unknown kind is asked for the plain things only.
"""

from dataclasses import dataclass
from enum import StrEnum


class ServerKind(StrEnum):
    """Which program serves."""

    VLLM = "vllm"
    LLAMA_SERVER = "llama-server"
    MLX_LM = "mlx-lm"
    OLLAMA = "ollama"
    LM_STUDIO = "lm-studio"
    TGI = "tgi"
    LEMONADE = "lemonade"
    OTHER = "other"


class Ability(StrEnum):
    """Something that a request may ask for and not every server can; the part before ":" is the parameter."""

    TOKEN_PROMPTS = "prompt:tokens"  # noqa: S105
    ECHO = "echo"
    SUFFIX = "suffix"
    CHAT_LOGPROBS = "logprobs:chat"
    PLAIN_LOGPROBS = "logprobs:plain"
    LOGIT_BIAS = "logit_bias"
    SEED = "seed"
    TOP_K = "top_k"
    MIN_P = "min_p"
    PRESENCE_PENALTY = "presence_penalty"
    FREQUENCY_PENALTY = "frequency_penalty"
    GRAMMAR = "grammar"
    IGNORE_EOS = "ignore_eos"
    TOOLS = "tools"
    NAMED_TOOL = "tool_choice"
    REQUIRED_TOOL = "tool_choice:required"
    ONE_TOOL_CALL = "parallel_tool_calls"
    ANSWER_AFTER_ANSWER = "messages:that end with the assistant's"
    """A new one, as OpenAI gives; llama-server goes on with the last, and with response_format it may end."""
    JSON_OBJECT = "response_format:json_object"
    JSON_SCHEMA = "response_format:json_schema"
    PLAIN_COMPLETIONS = "/v1/completions"

    @property
    def parameter(self) -> str:
        return self.value.partition(":")[0]


@dataclass(frozen=True)
class Server:
    """`refuses` are the abilities that it lacks; `chat_tokens` is asked for where a chat names no limit and
    the server's own would cut answers short (0: its own is the context)."""

    title: str
    ports: tuple[int, ...]
    refuses: frozenset[Ability]
    source: str
    prefix: str = "/v1"
    chat_tokens: int = 0
    tokens_parameter: str = "max_tokens"
    cuts_prompts: bool = False
    """A prompt that is too long loses its beginning or middle without a word: it is refused here instead."""
    context_when_untold: int = 0


_A = Ability
SERVERS: dict[ServerKind, Server] = {
    # echo with a stream, and suffix, are refused by itself too
    ServerKind.VLLM: Server(
        title="vLLM",
        ports=(8000,),
        refuses=frozenset({_A.SUFFIX, _A.GRAMMAR, _A.ONE_TOOL_CALL}),
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    ),
    # the log-probabilities of a plain completion come in the shape of a chat's; a tool that tool_choice
    # names is passed over
    ServerKind.LLAMA_SERVER: Server(
        title="llama-server",
        ports=(8080,),
        refuses=frozenset({_A.ECHO, _A.SUFFIX, _A.PLAIN_LOGPROBS, _A.NAMED_TOOL, _A.ANSWER_AFTER_ANSWER}),
        source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
    ),
    # its log-probabilities have a shape of their own, and without max_tokens it stops after 512
    ServerKind.MLX_LM: Server(
        title="MLX-LM",
        ports=(8080,),
        refuses=frozenset(_A) - {_A.PLAIN_COMPLETIONS, _A.LOGIT_BIAS, _A.SEED, _A.TOP_K, _A.MIN_P, _A.TOOLS},
        source="https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/SERVER.md",
        chat_tokens=4096,
    ),
    # top_k and min_p belong to its own API, not to this one; tool_choice and logit_bias it ignores; its
    # context is 4096 tokens unless its owner set another, which /api/ps tells of a loaded model
    ServerKind.OLLAMA: Server(
        title="Ollama",
        ports=(11434,),
        refuses=frozenset(_A)
        - {
            _A.PLAIN_COMPLETIONS,
            _A.SUFFIX,
            _A.SEED,
            _A.PRESENCE_PENALTY,
            _A.FREQUENCY_PENALTY,
            _A.TOOLS,
            _A.JSON_OBJECT,
            _A.JSON_SCHEMA,
        },
        source="https://docs.ollama.com/api/openai-compatibility",
        cuts_prompts=True,
        context_when_untold=4096,
    ),
    # it takes json_schema and refuses json_object
    ServerKind.LM_STUDIO: Server(
        title="LM Studio",
        ports=(1234,),
        refuses=frozenset(_A)
        - {
            _A.PLAIN_COMPLETIONS,
            _A.SEED,
            _A.TOP_K,
            _A.LOGIT_BIAS,
            _A.PRESENCE_PENALTY,
            _A.FREQUENCY_PENALTY,
            _A.TOOLS,
            _A.JSON_SCHEMA,
        },
        source="https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        cuts_prompts=True,
    ),
    # 3000 is its own default, 8080 that of its documentation's container; logit_bias it ignores
    ServerKind.TGI: Server(
        title="Text Generation Inference",
        ports=(3000, 8080),
        refuses=frozenset(_A)
        - {
            _A.PLAIN_COMPLETIONS,
            _A.SEED,
            _A.PRESENCE_PENALTY,
            _A.FREQUENCY_PENALTY,
            _A.TOOLS,
            _A.NAMED_TOOL,
            _A.REQUIRED_TOOL,
        },
        source="https://huggingface.co/docs/text-generation-inference/reference/api_reference",
    ),
    # 13305 since release 10, 8000 before; it hands on to other servers, which differ in all else
    ServerKind.LEMONADE: Server(
        title="Lemonade",
        ports=(13305, 8000),
        refuses=frozenset(_A) - {_A.PLAIN_COMPLETIONS, _A.TOP_K, _A.TOOLS},
        source="https://lemonade-server.ai/docs/server/server_spec/",
        prefix="/api/v1",
    ),
    ServerKind.OTHER: Server(
        title="A server of unknown make",
        ports=(),
        refuses=frozenset(_A) - {_A.PLAIN_COMPLETIONS},
        source="https://platform.openai.com/docs/api-reference/chat",
    ),
}

USUAL_PORTS = tuple(sorted({port for server in SERVERS.values() for port in server.ports}))
