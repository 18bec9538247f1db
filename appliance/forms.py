"""multipart/form-data (RFC 7578): each part's name and value, in order, read and written.

What python-multipart reads is checked for what it forgives: a body that ends early, a part without a name.
"""

import secrets
from collections.abc import Iterable, Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from appliance.errors import Refused

MOST_PARTS = 64
MOST_HEADER_BYTES = 8192


class NotAForm(Refused):
    """The body is no whole multipart/form-data."""

    code = "invalid_form"


class _Reader:
    """Takes the parser's callbacks; positions in the body come with each."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, bytes]] = []
        self.whole = False
        self._name = b""
        self._value = b""
        self._disposition = b""
        self._pieces: list[bytes] = []
        self._header_bytes = 0

    def callbacks(self) -> Mapping[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finished,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MOST_PARTS:
            raise NotAForm(f"The form has more than {MOST_PARTS} parts.")
        self._disposition, self._pieces, self._header_bytes = b"", [], 0

    def _header_begin(self) -> None:
        self._name = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data, start, end)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data, start, end)

    def _counted(self, data: bytes, start: int, end: int) -> bytes:
        self._header_bytes += end - start
        if self._header_bytes > MOST_HEADER_BYTES:
            raise NotAForm("A part's headers are too long.")
        return data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if kind != b"form-data" or not name:
            raise NotAForm("A part of the form has no name.")
        self.parts.append((name.decode("utf-8", "replace"), b"".join(self._pieces)))

    def _finished(self) -> None:
        self.whole = True


def read_form(content_type: bytes, body: bytes) -> list[tuple[str, bytes]]:
    """(name, value) of each part. Raises NotAForm."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind.lower() != b"multipart/form-data" or not boundary:
        raise NotAForm(
            "The body must be multipart/form-data with a boundary.",
            next_step="Send the file as a form, as the OpenAI client does.",
        )
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise NotAForm(f"The form can't be read: {error}") from error
    if not reader.whole:
        raise NotAForm("The form ends before its last boundary.")
    return reader.parts


def write_form(parts: Iterable[tuple[str, bytes]]) -> tuple[bytes, bytes]:
    """(content type, body) of a form with these parts; files lose their names, which say nothing here."""
    boundary = secrets.token_hex(16).encode()
    pieces: list[bytes] = []
    for name, value in parts:
        # the names are those of a checked form, so none of them needs quoting
        head = b'--%s\r\ncontent-disposition: form-data; name="%s"\r\n\r\n'
        pieces += (head % (boundary, name.encode()), value, b"\r\n")
    pieces.append(b"--%s--\r\n" % boundary)
    return b"multipart/form-data; boundary=" + boundary, b"".join(pieces)
