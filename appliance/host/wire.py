"""What travels over the broker's socket: one JSON object a line, a request and then its answer.

A request is {"verb": name, argument: value, ...}; its shape, and that of the result, are those of the verb in
`Host`. So adding a verb there is all that the wire needs.
"""

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, JsonValue, TypeAdapter, create_model

from appliance.errors import Refusal
from appliance.host.contract import BROKER_ERRORS, Host, HostFailed
from appliance.host.plan import Plan

LINE_LIMIT_BYTES = 1024 * 1024
"""Room for a tunnel of several thousand peers."""


class Request(Plan):
    """Base of every request; its other fields are the verb's arguments."""

    verb: str

    @property
    def arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name != "verb"}


@dataclass(frozen=True)
class Verb:
    """A method of `Host` as it travels."""

    request: type[Request]
    result: TypeAdapter[Any]


VERBS = frozenset(name for name in dir(Host) if not name.startswith("_"))


@cache
def verb_named(name: str) -> Verb:
    """One of VERBS. Made when it is first asked for: most processes use a few of them."""
    method = getattr(Host, name)
    hints = get_type_hints(method, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in list(inspect.signature(method).parameters.values())[1:]
    }
    fields["verb"] = (Literal[name], name)
    request = create_model(name, __base__=Request, **fields)
    return Verb(request, TypeAdapter(hints["return"]))


class _Named(BaseModel):
    verb: Literal[tuple(sorted(VERBS))]  # type: ignore[valid-type]


def read_request(line: bytes) -> Request:
    """The request of one line. Raises pydantic's ValidationError when it is none."""
    name = _Named.model_validate_json(line).verb
    return verb_named(name).request.model_validate_json(line)


class Failure(Plan):
    """A refusal on its way back: the code names the class, the sentence is for a person."""

    code: str
    sentence: str
    next_step: str = ""


class Answer(Plan):
    """`failure` when the verb was refused, else `result`."""

    result: JsonValue = None
    failure: Failure | None = None


def failure_of(error: Refusal) -> Failure:
    return Failure(code=error.code, sentence=error.sentence, next_step=error.next_step)


def error_of(failure: Failure) -> Refusal:
    """The refusal as the caller raises it again: of the class with its code, else HostFailed."""
    for kind in BROKER_ERRORS:
        if kind.code == failure.code:
            return kind(failure.sentence, next_step=failure.next_step)
    return HostFailed(failure.sentence, next_step=failure.next_step)
