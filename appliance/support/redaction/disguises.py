"""The forms in which a secret can hide in a text, each undone into a view that knows where it all came from.

A view is a text with a map: every stretch of it names the stretch of the text before from which it was made.
So what a rule finds in a view, however deep, is taken out of the original. Pure.
"""

import base64
import binascii
import html
import re
import urllib.parse
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

DEEPEST = 3
"""A PEM block in base64, wrapped, inside of a JSON string."""
MOST_VIEWS = 60


@dataclass(frozen=True)
class View:
    """`starts[i]` is where the i-th stretch begins in `text`; it came from `sources[i]` of `parent`'s text.

    A stretch that is as long as its source was copied, character by character; any other was decoded whole.
    """

    text: str
    parent: "View | None" = None
    starts: tuple[int, ...] = ()
    sources: tuple[tuple[int, int], ...] = ()
    joints: tuple[int, ...] = ()
    """Where lines were joined: positions in `text`, rising."""

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original text that `text[start:end]` came from."""
        if self.parent is None:
            return start, end
        return self.parent.origin(self._source(start)[0], self._source(end - 1)[1])

    def crosses_joint(self, start: int, end: int) -> bool:
        """Whether two lines meet strictly inside."""
        return bisect_left(self.joints, end) > bisect_right(self.joints, start)

    def _source(self, position: int) -> tuple[int, int]:
        at = bisect_right(self.starts, position) - 1
        begin, end = self.sources[at]
        next_start = self.starts[at + 1] if at + 1 < len(self.starts) else len(self.text)
        if next_start - self.starts[at] == end - begin:
            return begin + position - self.starts[at], begin + position - self.starts[at] + 1
        return begin, end


Stretch = tuple[str, int, int]
"""What it becomes, and from where to where it lies in the text before."""


@dataclass(frozen=True)
class Disguise:
    """`undo` gives the stretches of the new text in order; nothing when the text holds none of this kind."""

    name: str
    undo: Callable[[str], Iterator[Stretch]]
    joins_lines: bool = False
    stands_alone: bool = False
    """What comes out is a text of its own: how its source was wrapped means nothing to it."""


def views(text: str) -> Iterator[View]:
    """The text itself, then it without each disguise, and each combination of them up to DEEPEST."""
    seen, level = {text}, [View(text)]
    count = 0
    for depth in range(DEEPEST + 1):
        deeper: list[View] = []
        for view in level:
            yield view
            if depth == DEEPEST:
                continue
            for disguise in DISGUISES:
                made = _without(view, disguise)
                if made is not None and made.text not in seen and count < MOST_VIEWS:
                    seen.add(made.text)
                    deeper.append(made)
                    count += 1
        level = deeper


def _without(view: View, disguise: Disguise) -> View | None:
    stretches = [stretch for stretch in disguise.undo(view.text) if stretch[0]]
    if not stretches:
        return None
    starts = tuple(accumulate((len(text) for text, _, _ in stretches[:-1]), initial=0))
    return View(
        "".join(text for text, _, _ in stretches),
        view,
        starts,
        tuple((begin, end) for _, begin, end in stretches),
        () if disguise.stands_alone else _joints(view.joints, stretches, starts, disguise.joins_lines),
    )


def _joints(
    former: tuple[int, ...], stretches: list[Stretch], starts: tuple[int, ...], are_new: bool
) -> tuple[int, ...]:
    joints: set[int] = set(starts[1:]) if are_new else set()
    for (text, begin, end), start in zip(stretches, starts, strict=True):
        inside = former[bisect_left(former, begin) : bisect_left(former, end)]
        if len(text) == end - begin:
            joints.update(start + joint - begin for joint in inside)
        elif inside:
            # where in what was decoded the lines met can't be told
            joints.update(range(start, start + len(text)))
    return tuple(sorted(joints))


# a line may begin as the journal, a quotation or a comment does
_LINE_START = r"[ \t>|#\"']*(?:\d{4}-\d\d-\d\dT\S+ (?:\S+ )?[^\s\[\]]+(?:\[\d+\])?: )?[ \t]*"
_LINE_END = re.compile(r"\\?[ \t\"']*\r?\n" + _LINE_START)
_SOFT_LINE_END = re.compile(r"=\r?\n" + _LINE_START)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrt\"'/\\])")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-fA-F]{1,5}|amp|lt|gt|quot|apos);")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[ :]?){12,}")
_SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def _joined(line_end: re.Pattern[str]) -> Callable[[str], Iterator[Stretch]]:
    def undo(text: str) -> Iterator[Stretch]:
        at = 0
        for found in line_end.finditer(text):
            yield text[at : found.start()], at, found.start()
            at = found.end()
        if at:
            yield text[at:], at, len(text)

    return undo


def _replaced(pattern: re.Pattern[str], decode: Callable[[str], str]) -> Callable[[str], Iterator[Stretch]]:
    """Of the lines that hold the pattern, so that a view stays small."""

    def undo(text: str) -> Iterator[Stretch]:
        at, line_end = 0, 0
        for found in pattern.finditer(text):
            if found.start() >= line_end:
                yield text[at:line_end], at, line_end
                at = text.rfind("\n", 0, found.start()) + 1
                line_end = _end_of_line(text, found.end())
            yield text[at : found.start()], at, found.start()
            yield decode(found[0]), found.start(), found.end()
            at = found.end()
        yield text[at:line_end], at, line_end

    return undo


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _escape(escaped: str) -> str:
    if escaped[1] in "ux" and len(escaped) > 2:
        return chr(int(escaped[2:], 16))
    return _SIMPLE_ESCAPES.get(escaped[1], escaped[1])


def _base64(offset: int) -> Callable[[str], Iterator[Stretch]]:
    """A run may be the rest of a longer one, so its groups of four may begin anywhere."""

    def undo(text: str) -> Iterator[Stretch]:
        for found in _BASE64.finditer(text):
            run = found[0].rstrip("=").translate(_URL_SAFE)[offset:]
            run = run[: len(run) - 1] if len(run) % 4 == 1 else run
            try:
                raw = base64.b64decode(run + "=" * (-len(run) % 4))
            except binascii.Error:
                continue
            yield from _if_text(raw, *found.span())

    return undo


def _hex(text: str) -> Iterator[Stretch]:
    for found in _HEX.finditer(text):
        yield from _if_text(bytes.fromhex(re.sub(r"[ :]", "", found[0])), *found.span())


def _if_text(raw: bytes, start: int, end: int) -> Iterator[Stretch]:
    """What came out, when people or programs could have written it."""
    if len(raw.translate(None, _WRITTEN)) <= 0.15 * len(raw):
        yield raw.decode("latin-1"), start, end
        yield "\n", end, end


_WRITTEN = bytes((*range(32, 127), *b"\r\n\t"))
_URL_SAFE = str.maketrans("-_", "+/")

DISGUISES = (
    Disguise("escaped", _replaced(_ESCAPE, _escape)),
    Disguise("percent", _replaced(_PERCENT, lambda run: urllib.parse.unquote(run, errors="replace"))),
    Disguise("entities", _replaced(_ENTITY, html.unescape)),
    Disguise("wrapped", _joined(_LINE_END), joins_lines=True),
    Disguise("quoted-printable", _joined(_SOFT_LINE_END), joins_lines=True),
    *(Disguise(f"base64+{offset}", _base64(offset), stands_alone=True) for offset in range(4)),
    Disguise("hex", _hex, stands_alone=True),
)
