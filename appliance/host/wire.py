"""What travels over the broker's socket: one JSON object a line, a request and then its answer.

A request is {"verb": name, argument: value, ...}; its shape, and that of the result, are those of the verb in
`Host`. So adding a verb there is all that the wire needs.
"""

import inspect
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, JsonValue, TypeAdapter, create_model

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


def _verb(name: str) -> Verb:
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


VERBS = {name: _verb(name) for name in dir(Host) if not name.startswith("_")}
_ANY_REQUEST: Any = reduce(or_, (verb.request for verb in VERBS.values()))
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[_ANY_REQUEST, Field(discriminator="verb")])


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
