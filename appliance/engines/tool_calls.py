"""Tool calls in the text of a model that writes them as <tool_call>{"name": …, "arguments": {…}}</tool_call>.

What looks like a call but is not valid stays text: nothing that the model said is lost.
"""

import json
import uuid
from dataclasses import dataclass, field

from appliance.engines.chat_template import TOOL_CALL_BEGIN, TOOL_CALL_END
from appliance.engines.contract import ChatRequest, NamedTool, Tool
from appliance.engines.json_grammar import SchemaNotOffered, Shape
from appliance.errors import Refused


class ToolUnknown(Refused):
    code = "tool_unknown"


@dataclass(frozen=True)
class CalledTool:
    """A complete call; `arguments` is JSON text."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")


def may_call(request: ChatRequest) -> bool:
    """Whether the answer may have calls in it."""
    return bool(request.tools) and request.tool_choice != "none"


def shape_of_call(request: ChatRequest) -> Shape:
    """One call of a tool that tool_choice allows.

    Arguments are held to the schema of a tool that is strict, or where a call is forced. Raises ToolUnknown,
    SchemaNotOffered.
    """
    tools = request.tools
    if isinstance(request.tool_choice, NamedTool):
        wanted = request.tool_choice.function.name
        tools = [tool for tool in tools if tool.function.name == wanted]
        if not tools:
            raise ToolUnknown(
                f"tool_choice names {wanted!r}, which is not among the tools.", param="tool_choice"
            )
    forced = is_forced(request)
    calls = [
        _call_schema(tool, place, held=forced or tool.function.strict) for place, tool in enumerate(tools)
    ]
    return Shape({"anyOf": calls}, "tools", before=TOOL_CALL_BEGIN + "\n", after="\n" + TOOL_CALL_END)


def is_forced(request: ChatRequest) -> bool:
    """Whether the answer must be a call."""
    return request.tool_choice not in (None, "none", "auto")


def _call_schema(tool: Tool, place: int, *, held: bool) -> dict[str, object]:
    """With an $id for the parameters: what one tool's schema refers to is not another's of the same name."""
    parameters = (tool.function.parameters or {}) if held else {}
    arguments = {"type": "object", "$id": f"tool-{place}", **parameters}
    if arguments["type"] != "object":
        raise SchemaNotOffered(
            f"The parameters of the tool {tool.function.name!r} must be of type object.", param="tools"
        )
    return {
        "type": "object",
        "properties": {"name": {"const": tool.function.name}, "arguments": arguments},
        "required": ["name", "arguments"],
    }


class ToolCallSplitter:
    """Feed it text as it comes; it gives text to show and complete calls, in their order.

    Where calls must not be `parallel`, the answer ends with its first call.
    """

    def __init__(self, *, parallel: bool = True) -> None:
        self._parallel = parallel
        self._held = ""
        self.calls = 0

    def push(self, text: str, *, last: bool) -> list[str | CalledTool]:
        """What is certain now. `last`: nothing follows, so nothing is held back any more."""
        if self.calls and not self._parallel:
            return []
        self._held += text
        found: list[str | CalledTool] = []
        while True:
            begin = self._held.find(TOOL_CALL_BEGIN)
            if begin < 0:
                break
            end = self._held.find(TOOL_CALL_END, begin)
            if end < 0:
                break
            after = end + len(TOOL_CALL_END)
            call = _parse(self._held[begin + len(TOOL_CALL_BEGIN) : end])
            before = self._held[:begin] if call else self._held[:after]
            if before.strip():
                found.append(before)
            if call:
                found.append(call)
                self.calls += 1
                if not self._parallel:
                    return found
            self._held = self._held[after:]
        keep = 0 if last else _held_back(self._held)
        certain, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if certain and not (self.calls and not certain.strip()):
            found.append(certain)
        return found


def _held_back(text: str) -> int:
    """How many characters at the end may belong to a call."""
    begin = text.find(TOOL_CALL_BEGIN)
    if begin >= 0:
        return len(text) - begin
    for length in range(min(len(TOOL_CALL_BEGIN) - 1, len(text)), 0, -1):
        if text.endswith(TOOL_CALL_BEGIN[:length]):
            return length
    return 0


def _parse(text: str) -> CalledTool | None:
    try:
        call = json.loads(text)
        arguments = call["arguments"]
        if not isinstance(call["name"], str) or not isinstance(arguments, dict):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return CalledTool(call["name"], json.dumps(arguments, ensure_ascii=False))
