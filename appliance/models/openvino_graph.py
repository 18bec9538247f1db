"""One OpenVINO IR: its constants held against the .bin file beside it, and the caches that it keeps.

https://docs.openvino.ai/2025/documentation/openvino-ir-format.html. The XML says where in the .bin each
constant lies; none of that is believed that the file's size doesn't bear out. Weights are never read.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, iterparse

from appliance.models.gguf_header import ModelFileUnusable

_LARGEST_XML_BYTES = 256 * 2**20
_CHUNK_BYTES = 2**20
_BITS = {
    "boolean": 8, "u1": 1, "u2": 2, "u3": 3, "u4": 4, "u6": 6, "u8": 8, "u16": 16, "u32": 32, "u64": 64,
    "i4": 4, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "nf4": 4, "f4e2m1": 4, "f8e4m3": 8, "f8e5m2": 8,
    "f8e8m0": 8, "f16": 16, "bf16": 16, "f32": 32, "f64": 64,
}  # fmt: skip
_WEIGHT_BYTES = 4096
"""A smaller constant is a shape or a factor, not weights."""


@dataclass
class Graph:
    """`values_by_type` counts the weights of each element type; `caches` are keys and values, by variable."""

    values_by_type: Counter[str] = field(default_factory=Counter)
    forms: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    """How many constants hold weights, by element type, number of dimensions and the last one's width."""
    caches: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes, 0 where a width is open: batch, heads, tokens, head width."""


def read_graph(xml: Path, weights: Path) -> Graph:
    """Raises ModelFileUnusable with a sentence; OSError where a file can't be read."""
    weights_bytes = weights.stat().st_size
    if xml.stat().st_size > _LARGEST_XML_BYTES:
        raise ModelFileUnusable(f"{xml.name} is larger than any model's.")
    _refuse_definitions(xml)
    graph = Graph()
    try:
        for kind, data in _layers(xml):
            if kind == "Const":
                _take_constant(graph, data, xml.name, weights_bytes)
            elif kind == "ReadValue":
                graph.caches[data.get("variable_id", "")] = _shape(data.get("variable_shape", ""))
    except (ParseError, ValueError) as error:
        raise ModelFileUnusable(f"{xml.name} is no OpenVINO model ({error}).") from error
    return graph


def read_chat_template(xml: Path) -> str:
    """Of a tokenizer's IR that `read_graph` accepted; "" where it has none."""
    for _, element in iterparse(xml, events=("end",)):  # noqa: S314 has no definitions
        if element.tag == "chat_template":
            return str(element.get("value", ""))
        if element.tag == "layer":
            element.clear()
    return ""


def _refuse_definitions(xml: Path) -> None:
    """No model defines entities, and one that does could fill the memory with them."""
    last = b""
    with xml.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if b"<!" in (last + chunk).replace(b"<!--", b""):
                raise ModelFileUnusable(f"{xml.name} has definitions that no OpenVINO model needs.")
            last = chunk[-4:]


def _layers(xml: Path) -> Iterator[tuple[str, Element]]:
    """Each layer's type and its <data>."""
    layer, is_net = "", False
    for event, element in iterparse(xml, events=("start", "end")):  # noqa: S314 has no definitions
        if event == "start":
            is_net = is_net or element.tag == "net"
            layer = element.get("type", "") if element.tag == "layer" else layer
        elif element.tag == "data" and layer:
            yield layer, element
        elif element.tag == "layer":
            layer = ""
            element.clear()
    if not is_net:
        raise ValueError("it describes no network")


def _take_constant(graph: Graph, data: Element, name: str, weights_bytes: int) -> None:
    kind, shape = data.get("element_type", ""), _shape(data.get("shape", ""))
    offset, size = int(data.get("offset", "0")), int(data.get("size", "0"))
    if offset < 0 or size < 0 or offset + size > weights_bytes:
        raise ModelFileUnusable(
            f"The weights of {name} are cut off: they have {weights_bytes:,} bytes.",
            next_step="Get the model again.",
        )
    bits = _BITS.get(kind)
    if bits is None:  # texts of a tokenizer
        return
    values = math.prod(shape)
    if -(-values * bits // 8) != size:
        raise ModelFileUnusable(f"{name} has a constant of {size:,} bytes for {values:,} values of {kind}.")
    # scales and zero points of compressed weights are one value wide
    if size >= _WEIGHT_BYTES and shape[-1] != 1:
        graph.values_by_type[kind] += values
        graph.forms[kind, len(shape), shape[-1]] += 1


def _shape(text: str) -> tuple[int, ...]:
    """ "?,8,?,128" → (0, 8, 0, 128); a range is open, too."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(int(part) if part.isdecimal() else 0 for part in parts)
