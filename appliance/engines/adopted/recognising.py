"""From what a port answered to which server it is and which models it claims. Pure: works on recordings.

A server is known by what only it says: its own paths first, then its own words in the list of models. Our
own engine, worker or box is never taken for one: it would stand before itself. What a server claims of a
model is kept as it says it; whether it is true is `checking`'s.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.engines.adopted.asking import Reply
from appliance.engines.adopted.servers import ServerKind

MODELS = "/v1/models"
ASKED_PATHS = (
    "/health/ready", MODELS, "/props", "/version", "/info", "/api/version", "/api/tags", "/api/ps",
    "/api/v0/models",    "/api/v1/health", "/api/v1/models",
)  # fmt: skip
"""Asked by GET of whatever listens on a usual port."""
MAX_MODELS = 64
MAX_NAME_CHARACTERS = 200

Answers = Mapping[str, Reply]
"""By path; a path that got no answer is left out."""


@dataclass(frozen=True)
class Claim:
    """What a server says of one model; what it does not tell is empty or 0."""

    id: str
    context_tokens: int = 0
    family: str = ""
    """Architecture or family: llama, qwen3 …"""
    parameters: float = 0
    """How many, not billions."""
    origin: str = ""
    """The repository or file that it was loaded from."""
    digest: str = ""
    """The server's own mark of the file, and what else changes with it."""
    is_embedding: bool = False
    vocabulary: int = 0
    """Tokens that it knows."""


@dataclass(frozen=True)
class Found:
    """A server that was recognised, and by what."""

    kind: ServerKind
    reason: str
    models: tuple[Claim, ...] = ()
    slots: int = 0
    """How many answers it says it makes at once; 0: not told."""
    needs_key: bool = False


@dataclass(frozen=True)
class NotOne:
    """What listens is no server that can be adopted, and why."""

    reason: str


@dataclass(frozen=True)
class _Seen:
    """The answers as JSON objects, {} where a path gave none."""

    answers: Answers
    said: Mapping[str, Any] = field(default_factory=dict)

    def at(self, path: str) -> dict[str, Any]:
        said = self.said.get(path)
        return said if isinstance(said, dict) else {}

    def listed(self, path: str, key: str = "data") -> list[dict[str, Any]]:
        listed = self.at(path).get(key)
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    @property
    def owners(self) -> set[str]:
        return {str(one.get("owned_by")) for one in self.listed(MODELS)}

    @property
    def server(self) -> str:
        """The header Server of the list of models, or of any answer."""
        replies = [self.answers[path] for path in (MODELS, *ASKED_PATHS) if path in self.answers]
        return next((reply.headers["server"] for reply in replies if "server" in reply.headers), "")


def recognise(answers: Answers) -> Found | NotOne:
    """Which server gave `answers`, with the models that it claims; or why it is none to adopt."""
    said = {path: reply.json() for path, reply in answers.items() if reply.status == 200}
    seen = _Seen(answers, said)
    if "cellule" in seen.owners or _tells_readiness(answers):
        return NotOne("It is an engine or a box of this product itself.")
    if not answers:
        return NotOne("Nothing answered as a web server does.")
    for kind, sign in _SIGNS:
        reason = sign(seen)
        if reason:
            models = _CLAIMS.get(kind, _plain_claims)(seen)
            return Found(kind, reason, models[:MAX_MODELS], _slots(seen), _refused_us(answers))
    if _refused_us(answers):
        return Found(ServerKind.OTHER, "It answers, and wants a key.", needs_key=True)
    return NotOne("It has no list of models as OpenAI's API has.")


def _tells_readiness(answers: Answers) -> bool:
    # as ours do, also while they start; of the others none has this path
    reply = answers.get("/health/ready")
    return reply is not None and isinstance(_object(reply.json()).get("ready"), bool)


def _refused_us(answers: Answers) -> bool:
    return MODELS in answers and answers[MODELS].status in (401, 403)


# --- which server -----------------------------------------------------------------------------------


def _is_lemonade(seen: _Seen) -> str:
    # before Ollama, whose own paths it answers too
    health = seen.at("/api/v1/health")
    if "lemonade" in seen.owners or {"model_loaded", "all_models_loaded"} & set(health):
        return "Its /api/v1/health tells which models are loaded, as Lemonade's does."
    return ""


def _is_lm_studio(seen: _Seen) -> str:
    if any("compatibility_type" in one for one in seen.listed("/api/v0/models")):
        return "Its /api/v0/models tells formats and states, as LM Studio's does."
    return ""


def _is_llama_server(seen: _Seen) -> str:
    props = seen.at("/props")
    if "total_slots" in props or "llamacpp" in seen.owners or seen.server == "llama.cpp":
        return "It names llama.cpp, and its slots in /props."
    return ""


def _is_tgi(seen: _Seen) -> str:
    info = seen.at("/info")
    if str(info.get("router", "")).startswith("text-generation-router") or {
        "model_id",
        "max_total_tokens",
    } <= set(info):
        return "Its /info names the router of Text Generation Inference and a model."
    return ""


def _is_vllm(seen: _Seen) -> str:
    if "vllm" in seen.owners or ("version" in seen.at("/version") and _has(seen, "max_model_len")):
        return "Its models are owned by vllm."
    return ""


def _is_ollama(seen: _Seen) -> str:
    if "version" in seen.at("/api/version") and "models" in seen.at("/api/tags"):
        return "It answers /api/version and /api/tags as Ollama does."
    return ""


def _is_mlx_lm(seen: _Seen) -> str:
    # Python's own http.server, and models without an owner
    if seen.server.startswith("BaseHTTP/") and seen.listed(MODELS) and seen.owners == {"None"}:
        return "Python's plain web server lists models that nobody owns, as MLX-LM's does."
    return ""


def _is_some_other(seen: _Seen) -> str:
    if any(isinstance(one.get("id"), str) for one in seen.listed(MODELS)):
        return "It lists models as OpenAI's API does, and says nothing that tells its make."
    return ""


_SIGNS: Sequence[tuple[ServerKind, Callable[[_Seen], str]]] = (
    (ServerKind.LEMONADE, _is_lemonade),
    (ServerKind.LM_STUDIO, _is_lm_studio),
    (ServerKind.LLAMA_SERVER, _is_llama_server),
    (ServerKind.TGI, _is_tgi),
    (ServerKind.VLLM, _is_vllm),
    (ServerKind.OLLAMA, _is_ollama),
    (ServerKind.MLX_LM, _is_mlx_lm),
    (ServerKind.OTHER, _is_some_other),
)


def _has(seen: _Seen, name: str) -> bool:
    return any(name in one for one in seen.listed(MODELS))


# --- what it claims ---------------------------------------------------------------------------------


def _plain_claims(seen: _Seen) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            id=_text(one.get("id")),
            context_tokens=_count(one.get("max_model_len") or one.get("context_length")),
            origin=_text(one.get("root")),
            digest=_text(one.get("root")),
        )
        for one in seen.listed(MODELS)
        if _text(one.get("id"))
    )


def _llama_server_claims(seen: _Seen) -> tuple[Claim, ...]:
    props = seen.at("/props")
    slot_tokens = _count(_object(props.get("default_generation_settings")).get("n_ctx"))
    claims = []
    for one in seen.listed(MODELS):
        meta = _object(one.get("meta"))
        marks = [str(meta.get(name, "")) for name in ("n_params", "size", "n_vocab", "n_embd", "ftype")]
        claims.append(
            Claim(
                id=_text(one.get("id")),
                context_tokens=slot_tokens or _count(meta.get("n_ctx")) or _count(meta.get("n_ctx_train")),
                parameters=_count(meta.get("n_params")),
                origin=_text(props.get("model_path")).rpartition("/")[2],
                digest=":".join(marks) if meta else "",
                vocabulary=_count(meta.get("n_vocab")),
            )
        )
    return tuple(claim for claim in claims if claim.id)


def _ollama_claims(seen: _Seen) -> tuple[Claim, ...]:
    loaded = {
        _text(one.get("name")): _count(one.get("context_length")) for one in seen.listed("/api/ps", "models")
    }
    claims = []
    for one in seen.listed("/api/tags", "models"):
        details = _object(one.get("details"))
        family = _text(details.get("family"))
        claims.append(
            Claim(
                id=_text(one.get("name") or one.get("model")),
                context_tokens=loaded.get(_text(one.get("name") or one.get("model")), 0),
                family=family,
                parameters=parameters_of(_text(details.get("parameter_size"))),
                digest=_text(one.get("digest")),
                is_embedding="bert" in family,
            )
        )
    return tuple(claim for claim in claims if claim.id)


def _lm_studio_claims(seen: _Seen) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            id=_text(one.get("id")),
            context_tokens=_count(one.get("loaded_context_length") or one.get("max_context_length")),
            family=_text(one.get("arch")),
            origin=_text(one.get("publisher")),
            digest=f"{_text(one.get('compatibility_type'))}:{_text(one.get('quantization'))}",
            is_embedding=one.get("type") == "embeddings",
        )
        for one in seen.listed("/api/v0/models")
        if _text(one.get("id"))
    )


def _tgi_claims(seen: _Seen) -> tuple[Claim, ...]:
    info = seen.at("/info")
    model = _text(info.get("model_id"))
    tokens = _count(info.get("max_total_tokens"))
    return (Claim(model, tokens, origin=model, digest=_text(info.get("model_sha"))),) if model else ()


def _lemonade_claims(seen: _Seen) -> tuple[Claim, ...]:
    listed = seen.listed("/api/v1/models") or seen.listed(MODELS)
    claims = []
    for one in listed:
        labels = one.get("labels")
        claims.append(
            Claim(
                id=_text(one.get("id")),
                context_tokens=_count(one.get("max_context_window") or one.get("context_length")),
                origin=_text(one.get("checkpoint")),
                digest=f"{_text(one.get('checkpoint'))}:{_text(one.get('recipe'))}",
                is_embedding=isinstance(labels, list) and "embeddings" in labels,
            )
        )
    return tuple(claim for claim in claims if claim.id)


_CLAIMS: Mapping[ServerKind, Callable[[_Seen], tuple[Claim, ...]]] = {
    ServerKind.LLAMA_SERVER: _llama_server_claims,
    ServerKind.OLLAMA: _ollama_claims,
    ServerKind.LM_STUDIO: _lm_studio_claims,
    ServerKind.TGI: _tgi_claims,
    ServerKind.LEMONADE: _lemonade_claims,
}


LOOKED_PATHS: Mapping[ServerKind, str] = {
    ServerKind.OLLAMA: "/api/tags",
    ServerKind.LM_STUDIO: "/api/v0/models",
    ServerKind.TGI: "/info",
    ServerKind.LEMONADE: "/api/v1/models",
}
"""Where a kind shows its models; all others at MODELS."""


def claims_of(kind: ServerKind, reply: Reply) -> tuple[Claim, ...]:
    """The claims in an answer to LOOKED_PATHS of that kind."""
    path = LOOKED_PATHS.get(kind, MODELS)
    return _CLAIMS.get(kind, _plain_claims)(_Seen({path: reply}, {path: reply.json()}))


def _slots(seen: _Seen) -> int:
    return _count(seen.at("/props").get("total_slots")) or _count(
        seen.at("/info").get("max_concurrent_requests")
    )


def parameters_of(text: str) -> float:
    """ "8.0B", "270M" → how many; 0 where it says none."""
    sized = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMBT])", text.strip(), re.IGNORECASE)
    if sized is None:
        return 0.0
    return float(sized[1]) * {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[sized[2].upper()]


def _text(value: object) -> str:
    """A name as a person may see it; anything else is none."""
    is_name = isinstance(value, str) and value.isprintable() and len(value) <= MAX_NAME_CHARACTERS
    return str(value).strip() if is_name else ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0
