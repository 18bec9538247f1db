"""Requests that a fuzzer makes: from our own OpenAPI description, as it says and against it, then damaged.

Generating from the schema is slow, so a few hundred documents are made that way and each is used many
times, with another damage each time. One seed gives one run.
"""

import json
import random
import warnings
from dataclasses import dataclass
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import NonInteractiveExampleWarning
from schemathesis.core import NotSet
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

Json = object
"""Whatever a document may hold."""

JUNK: tuple[Json, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", " ", "\0", "é🙂", "\ud800", "x" * 5000, "cellule-demo", [], {}, [None], [[]], [{}],
    {"": None}, {"role": "user", "content": "x"}, [{"role": "user"}], {"type": "json_object"}, ["a"] * 50,
    "user", "function",
)  # fmt: skip
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
_ODD_PATHS = ("/v1/models", "/v1/models/cellule-demo", "/v1/", "/v1/%00", "/v1/é")
_ODD_NAMES = ("", "x", "stream", "n", "seed", "stop", "é")
_ODD_METHODS = ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
_ODD_SECRETS = ("", "x", "sk-cellule-" + "x" * 43, "\x7f", "é" * 9)
_ODD_HEADERS = ("accept: text/event-stream", "content-encoding: gzip", "x-a: " + "y" * 9000)
_BAD_HEADERS = ("transfer-encoding: chunked", "content-length: 1", "bad header", ": x", "x\0y: 1")
_SHORT = {"max_tokens": 2}


@dataclass(frozen=True)
class Case:
    """One request as bytes, and what is known of it beforehand."""

    head: bytes
    body: bytes
    leaves: bool
    """The client goes away right after sending."""
    request_id: str
    metered: bool
    """Well-formed HTTP with a valid key to an endpoint that meters: exactly one ledger line follows."""

    @property
    def wire(self) -> bytes:
        return self.head + self.body


def documents(description: dict[str, Any], count: int, seed_number: int) -> list[tuple[str, Any]]:
    """(path, body) pairs that schemathesis makes of the description: half as it says, half against it."""
    made: list[tuple[str, Any]] = []
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        schema = schemathesis.openapi.from_dict(description)
        for result in schema.get_all_operations():
            if not isinstance(result, Ok) or result.ok().path not in ENDPOINTS:
                continue
            operation = result.ok()

            @seed(seed_number)
            @settings(
                max_examples=max(1, count // 6),
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def collect(case: "schemathesis.Case[Any]") -> None:
                if not isinstance(case.body, NotSet):
                    made.append((case.path, case.body))

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NonInteractiveExampleWarning)
                collect()
    return made


class Fuzzer:
    """Makes cases without end from the documents."""

    def __init__(self, made: list[tuple[str, Any]], secret: str, model: str, seed_number: int) -> None:
        self._made = made
        self._secret = secret
        self._model = model
        self._random = random.Random(seed_number)
        self._number = 0

    def next(self) -> Case:
        """The next case."""
        chance = self._random
        self._number += 1
        path, document = chance.choice(self._made)
        if isinstance(document, dict):
            document = document | {"model": self._model} | ({} if "embed" in path else _SHORT)
            document.pop("max_completion_tokens", None)
            if "messages" in document and chance.random() < 0.3:
                document["messages"] = [{"role": "user", "content": "hello"}]
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            document = self._damaged(document)
        body = self._serialised(document)
        if chance.random() < 0.1:
            path = chance.choice(ENDPOINTS * 3 + _ODD_PATHS)
        return self._case(path, body)

    def _damaged(self, node: Json) -> Json:
        """The document with one value changed, taken away, doubled or put elsewhere."""
        chance = self._random
        if isinstance(node, dict) and node and chance.random() < 0.85:
            key = chance.choice(list(node))
            match chance.randrange(5):
                case 0:
                    return {name: value for name, value in node.items() if name != key}
                case 1:
                    return node | {chance.choice(_ODD_NAMES): chance.choice(JUNK)}
                case _:
                    return node | {key: self._damaged(node[key])}
        if isinstance(node, list) and node and chance.random() < 0.7:
            index = chance.randrange(len(node))
            return [*node[:index], self._damaged(node[index]), *node[index + chance.randrange(2) :]]
        return chance.choice(JUNK)

    def _serialised(self, document: Json) -> bytes:
        chance = self._random
        try:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
        except (TypeError, ValueError):
            body = repr(document).encode("utf-8", "replace")
        if chance.random() < 0.15:
            at, width = chance.randrange(len(body) + 1), chance.randrange(8)
            body = body[:at] + chance.randbytes(width) + body[at + chance.randrange(8) :]
        return body

    def _case(self, path: str, body: bytes) -> Case:
        chance = self._random
        request_id = f"fuzz-{self._number}"
        method, secret, extra = "POST", self._secret, list[str]()
        sane = True
        match chance.randrange(40):
            case 0:
                method = chance.choice(_ODD_METHODS)
            case 1:
                secret = chance.choice(_ODD_SECRETS)
            case 2:
                extra.append(chance.choice(_ODD_HEADERS))
            case 3:
                extra.append(chance.choice(_BAD_HEADERS))
                sane = False
            case _:
                pass
        lines = [
            f"{method} {path} HTTP/1.1", "host: box", f"authorization: Bearer {secret}",
            f"x-request-id: {request_id}", "content-type: application/json", f"content-length: {len(body)}",
            *extra, "", "",
        ]  # fmt: skip
        head = "\r\n".join(lines).encode("utf-8", "replace")
        metered = sane and method == "POST" and secret == self._secret and path in ENDPOINTS
        return Case(head, body, chance.random() < 0.04, request_id, metered)
