"""JSON mode: a JSON Schema becomes a GBNF grammar, or is refused by the keyword that can't be held.

Every text the grammar allows is valid JSON that the schema allows; the opposite does not hold (properties
come in the order of the schema, and only declared ones). llama-cpp-python's converter is not used: it
lets control characters into strings, breaks constants with quotes, and drops keywords silently.
"""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from appliance.errors import Refused

MAX_DEPTH = 32
MAX_SCHEMA_BYTES = 65536
MAX_REPEATS = 1000
MAX_REPEATS_TOGETHER = 10_000
"""Of all different limits of one schema: more would hold up everybody's answers while they are compiled."""
_ANNOTATIONS = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated"}
_ANNOTATIONS |= {"readOnly", "writeOnly", "$defs", "definitions"}
_WORDS_OF_TYPE: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "format"},
    "number": {"minimum"},
    "integer": {"minimum"},
    "boolean": set(),
    "null": set(),
}
_BASE_RULES = r"""
space ::= " "?
hex ::= [0-9a-fA-F]
digit ::= [0-9]
escape ::= "u" ([0-9a-cA-CefEF] hex | [dD] [0-7]) hex hex | ["\\/bfnrt]
char ::= [^"\\\x00-\x1F\x7F] | "\\" escape
string ::= "\"" char* "\""
natural ::= "0" | [1-9] digit{0,15}
integer ::= "-"? natural
positive ::= natural ("." digit{1,16})? ([eE] [-+]? digit{1,2})?
number ::= "-"? positive
boolean ::= "true" | "false"
null ::= "null"
array ::= "[" space (value ("," space value)*)? "]" space
object ::= "{" space (string ":" space value ("," space string ":" space value)*)? "}" space
value ::= (object | array | string | number | boolean | null) space
date ::= digit{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | "1" digit | "2" [0-8])
time ::= ([01] digit | "2" [0-3]) ":" [0-5] digit ":" [0-5] digit ("Z" | [-+] offset)
offset ::= ([01] digit | "2" [0-3]) ":" [0-5] digit
uuid ::= hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}
"""
_FORMATS = {"date": "date", "time": "time", "date-time": 'date "T" time', "uuid": "uuid"}


class SchemaNotOffered(Refused):
    """The schema has a keyword, or a use of one, that can't be enforced while the answer is made."""

    code: ClassVar[str] = "schema_not_offered"


@dataclass(frozen=True)
class Shape:
    """The values that `schema` allows, between two fixed texts; a refusal names `param`."""

    schema: dict[str, Any]
    param: str
    before: str = ""
    after: str = ""


ANY_OBJECT: dict[str, Any] = {"type": "object"}


def grammar_of(*shapes: Shape) -> str:
    """GBNF of the texts that one of `shapes` allows. Raises SchemaNotOffered, which names the place."""
    writer = _GrammarWriter()
    root = " | ".join(writer.whole(shape) for shape in shapes)
    return "\n".join(
        [f"root ::= {root}", *(f"{name} ::= {rule}" for name, rule in writer.rules), _BASE_RULES]
    )


def grammar_of_schema(schema: dict[str, Any], param: str) -> str:
    """As `grammar_of`, for that one schema."""
    return grammar_of(Shape(schema, param))


def literal(text: str) -> str:
    """`text` as a GBNF string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class _GrammarWriter:
    """Turns each subschema into the name of a rule; paths in refusals are JSON pointers."""

    def __init__(self) -> None:
        self.rules: list[tuple[str, str]] = []
        self._root: dict[str, Any] = {}
        self._param = ""
        self._of_reference: dict[str, str] = {}
        self._of_body: dict[str, str] = {}
        self._resolving = frozenset[str]()
        """References that are being followed, and nothing was written since."""
        self._repeats = 0
        self._names = 0

    def whole(self, shape: Shape) -> str:
        """The body of a rule for the whole of `shape`."""
        self._root, self._param, self._of_reference = shape.schema, shape.param, {}
        if len(json.dumps(shape.schema)) > MAX_SCHEMA_BYTES:
            raise self.refusal("", f"the schema has more than {MAX_SCHEMA_BYTES} bytes")
        texts = shape.before and literal(shape.before), shape.after and literal(shape.after)
        return " ".join(filter(None, (texts[0], self.rule_of(shape.schema, "", 0), texts[1])))

    def refusal(self, path: str, what: str) -> SchemaNotOffered:
        return SchemaNotOffered(
            f"The JSON schema can't be enforced at {path or '/'}: {what}.", param=self._param
        )

    def rule_of(self, schema: object, path: str, depth: int) -> str:
        """The name of the rule for `schema`, which is written at the first call."""
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, dict):
            raise self.refusal(path, "a schema must be an object")
        if depth > MAX_DEPTH:
            raise self.refusal(path, f"nested deeper than {MAX_DEPTH}")
        words = set(schema) - _ANNOTATIONS
        if "$id" in schema and schema is not self._root:
            return self._of_its_own(schema, path, depth)
        if words == {"$ref"}:
            return self._referenced(schema["$ref"], path, depth)
        if words in ({"anyOf"}, {"allOf"}):
            return self._alternatives(schema, min(words), path, depth)
        if words & {"const", "enum"} and words <= {"const", "enum", "type"}:
            return self._constants(schema, path)
        kinds = schema.get("type", "object" if "properties" in words else None)
        if not words - {"type"} and isinstance(kinds, list) and kinds:
            return self._define(" | ".join(self.rule_of({"type": kind}, path, depth + 1) for kind in kinds))
        if not isinstance(kinds, str) or kinds not in _WORDS_OF_TYPE:
            unknown = sorted(words - {"type"})
            raise self.refusal(
                path, f"'{unknown[0]}' is not offered without one type" if unknown else "unknown type"
            )
        if unknown := sorted(words - {"type"} - _WORDS_OF_TYPE[kinds]):
            raise self.refusal(path, f"'{unknown[0]}' is not offered with type {kinds}")
        return self._typed(kinds, schema, path, depth)

    def _define(self, body: str, name: str | None = None) -> str:
        """The rule's name; without one given, two of the same body are one rule, which is compiled once."""
        if name is None and body in self._of_body:
            return self._of_body[body]
        name = self._of_body[body] = name or self._new_name()
        self.rules.append((name, body or '""'))
        return name

    def _new_name(self) -> str:
        self._names += 1
        return f"r{self._names}"

    def _of_its_own(self, schema: dict[str, Any], path: str, depth: int) -> str:
        """A schema with an $id is a document of its own: its references lead no further up than to itself.

        https://json-schema.org/draft/2020-12/json-schema-core#name-the-id-keyword
        """
        outer = self._root, self._of_reference, self._resolving
        self._root, self._of_reference, self._resolving = schema, {}, frozenset()
        name = self.rule_of(schema, path, depth)
        self._root, self._of_reference, self._resolving = outer
        return name

    def _referenced(self, reference: object, path: str, depth: int) -> str:
        parts = str(reference).split("/")
        if parts == ["#"]:
            target: Any = self._root
        elif len(parts) == 3 and parts[0] == "#" and parts[1] in ("$defs", "definitions"):
            definitions = self._root.get(parts[1])
            target = definitions.get(parts[2]) if isinstance(definitions, dict) else None
        else:
            raise self.refusal(path, "'$ref' may only lead to # or #/$defs/NAME")
        if target is None:
            raise self.refusal(path, f"{reference} does not exist")
        key = str(reference)
        if key in self._resolving:
            raise self.refusal(path, f"{reference} leads back to itself and to no value")
        if key not in self._of_reference:
            name = self._of_reference[key] = self._new_name()
            outer, self._resolving = self._resolving, self._resolving | {key}
            self._define(self.rule_of(target, key[1:], depth + 1), name)
            self._resolving = outer
        return self._of_reference[key]

    def _alternatives(self, schema: dict[str, Any], word: str, path: str, depth: int) -> str:
        parts = schema[word]
        if not isinstance(parts, list) or not parts or (word == "allOf" and len(parts) > 1):
            raise self.refusal(
                path, f"'{word}' needs {'exactly one schema' if word == 'allOf' else 'a list'}"
            )
        rules = [self.rule_of(part, f"{path}/{word}/{place}", depth + 1) for place, part in enumerate(parts)]
        return self._define(" | ".join(rules))

    def _constants(self, schema: dict[str, Any], path: str) -> str:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        if not isinstance(values, list) or not values or ("const" in schema and "enum" in schema):
            raise self.refusal(path, "'enum' needs a list of values, and no 'const' beside it")
        kind = schema.get("type")
        allowed = [value for value in values if kind is None or _is_of_type(value, kind)]
        if not allowed:
            raise self.refusal(path, "no value is of the given type")
        texts = [literal(json.dumps(value, ensure_ascii=False)) for value in allowed]
        return self._define(f"({' | '.join(texts)}) space")

    def _typed(self, kind: str, schema: dict[str, Any], path: str, depth: int) -> str:
        if kind in ("object", "array"):
            # within its brackets a reference may lead back to it
            outer, self._resolving = self._resolving, frozenset()
            rule = (self._object if kind == "object" else self._array)(schema, path, depth)
            self._resolving = outer
            return rule
        if kind == "string":
            return self._string(schema, path)
        if schema.get("minimum", 0) != 0:
            raise self.refusal(path, "'minimum' is offered as 0 only")
        if "minimum" in schema:
            kind = {"integer": "natural", "number": "positive"}[kind]
        return self._define(f"{kind} space")

    def _string(self, schema: dict[str, Any], path: str) -> str:
        low, high = self._limits(schema, path, "minLength", "maxLength")
        body = "" if high == 0 else f"char{{{low},{'' if high is None else high}}}"
        if "format" in schema:
            known = _FORMATS.get(str(schema["format"]))
            if known is None or "minLength" in schema or "maxLength" in schema:
                raise self.refusal(path, f"the format {schema['format']!r} is not offered here")
            body = known
        return self._repeated(f'"\\"" {body} "\\"" space', low if high is None else high, path)

    def _array(self, schema: dict[str, Any], path: str, depth: int) -> str:
        item = self.rule_of(schema.get("items", {}), f"{path}/items", depth + 1)
        low, high = self._limits(schema, path, "minItems", "maxItems")
        if high == 0:
            return self._define('"[" space "]" space')
        most_after = "" if high is None else high - 1
        more = f'("," space {item}){{{max(0, low - 1)},{most_after}}}'
        items = f"{item} {more}" if low else f"({item} {more})?"
        return self._repeated(f'"[" space {items} "]" space', low if high is None else high, path)

    def _repeated(self, body: str, repeats: int, path: str) -> str:
        """As `_define`, for a rule with limits."""
        before = len(self.rules)
        name = self._define(body)
        self._repeats += repeats * (len(self.rules) - before)
        if self._repeats > MAX_REPEATS_TOGETHER:
            raise self.refusal(path, f"its different limits are more than {MAX_REPEATS_TOGETHER} together")
        return name

    def _limits(self, schema: dict[str, Any], path: str, least: str, most: str) -> tuple[int, int | None]:
        low, high = schema.get(least, 0), schema.get(most)
        numbers = [low, low if high is None else high]
        if (
            not all(type(number) is int and 0 <= number <= MAX_REPEATS for number in numbers)
            or low > numbers[1]
        ):
            raise self.refusal(path, f"0 ≤ {least} ≤ {most} ≤ {MAX_REPEATS} must hold")
        return low, high

    def _object(self, schema: dict[str, Any], path: str, depth: int) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise self.refusal(path, "'properties' must be an object and 'required' a list")
        if missing := [name for name in required if name not in list(properties)]:
            raise self.refusal(path, f"'required' names {missing[0]!r}, which is not among the properties")
        additional = schema.get("additionalProperties", True)
        if not properties and additional is not False:
            value = self.rule_of(additional, f"{path}/additionalProperties", depth + 1)
            pair = f'string ":" space {value} space'
            return self._define(f'"{{" space ({pair} ("," space {pair})*)? "}}" space')
        first = after = '""'
        # from the last property to the first: what may follow when something stands before it, or nothing
        for name, part in reversed(properties.items()):
            value = self.rule_of(part, f"{path}/properties/{name}", depth + 1)
            pair = self._define(f'{literal(json.dumps(name, ensure_ascii=False))} ":" space {value}')
            if name in required:
                first = self._define(f"{pair} {after}")
                after = self._define(f'"," space {pair} {after}')
            else:
                first = self._define(f"{pair} {after} | {first}")
                after = self._define(f'("," space {pair})? {after}')
        return self._define(f'"{{" space {first} "}}" space')


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is_of_type(value: object, kind: object) -> bool:
    if isinstance(kind, list):
        return any(_is_of_type(value, one) for one in kind)
    if isinstance(value, bool):  # which Python counts as an int
        return kind == "boolean"
    return isinstance(value, _PYTHON_TYPES.get(str(kind), ()))
