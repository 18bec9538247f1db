"""Messages become the prompt that the model was trained on, by the template in its own file.

A template is somebody else's program: it runs in Jinja's sandbox, which reaches neither attributes that
lead out nor the machine. Whether it knows tools is read from its source.
"""

import json
from datetime import date
from typing import Any, ClassVar, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from appliance.engines.contract import ChatRequest, TextPart
from appliance.engines.vocabulary import Vocabulary
from appliance.errors import Refused

TOOL_CALL_BEGIN = "<tool_call>"
TOOL_CALL_END = "</tool_call>"


class MessagesNotAccepted(Refused):
    """The model's template refuses the messages: an order of roles that it does not know, for one."""

    code: ClassVar[str] = "messages_not_accepted"


class NoChatTemplate(Refused):
    code: ClassVar[str] = "no_chat_template"


class ChatTemplate:
    """The template of one model, compiled once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        source = vocabulary.chat_template
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.globals.update(
            raise_exception=_raise, strftime_now=lambda form: date.today().strftime(form)
        )
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(source) if source else None
        self._special = {
            name: "" if token is None else vocabulary.token_text(token)
            for name, token in (("bos_token", vocabulary.begin_token), ("eos_token", vocabulary.stop_token))
        }
        self.knows_tools = bool(source and "tools" in source and TOOL_CALL_BEGIN in source)

    def render(self, request: ChatRequest) -> str:
        """The prompt up to where the assistant speaks. Raises NoChatTemplate, MessagesNotAccepted."""
        if self._template is None:
            raise NoChatTemplate(
                "The model's file has no chat template.", next_step="Use /v1/completions.", param="messages"
            )
        messages = [
            _as_template_sees_it(message.model_dump(exclude_none=True)) for message in request.messages
        ]
        tools = [tool.model_dump(exclude_none=True) for tool in request.tools]
        if request.tool_choice == "none":
            tools = []
        try:
            return self._template.render(
                messages=messages, tools=tools or None, add_generation_prompt=True, **self._special
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, RecursionError) as error:
            raise MessagesNotAccepted(
                f"The model's chat template does not accept these messages: {error}.", param="messages"
            ) from error


def _as_template_sees_it(message: dict[str, Any]) -> dict[str, Any]:
    """Content as one text, arguments of calls as objects, `developer` as the `system` that templates know."""
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = "".join(TextPart(**part).text for part in content)
    if message["role"] == "developer":
        message["role"] = "system"
    for call in message.get("tool_calls", []):
        call["function"]["arguments"] = arguments_of(call["function"]["arguments"])
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    return message


def arguments_of(text: str) -> object:
    """Of a call in an earlier turn. Raises MessagesNotAccepted."""
    try:
        # a tool without parameters is called with nothing, which some programs keep as an empty text
        return json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise MessagesNotAccepted("The arguments of a tool call are not JSON.", param="messages") from error


def _to_json(value: object, indent: int | None = None, **_ignored: object) -> str:
    # Jinja's own filter escapes for HTML, which no model was trained on
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
