"""Bytes of tokens become text that is cut only where it may be cut.

Two things hold text back: a UTF-8 character whose last bytes have not come, and an end of the text that
may be the beginning of a stop string. What was handed out is never taken back, and never contains a
stop string, whatever tokens it came in.
"""

import codecs


class TextStream:
    """Feed it the bytes of each token; it gives the text that is safe to show.

    `stopped` becomes true with the token that completes a stop string; nothing after it counts.
    `decoded_length` is the length in characters of everything decoded, held back or not.
    """

    def __init__(self, stop_strings: tuple[str, ...] = ()) -> None:
        self._stop_strings = stop_strings
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False
        self.decoded_length = 0
        self.shown_length = 0

    def push(self, piece: bytes) -> str:
        """The text that became safe with these bytes: maybe none, maybe more than they stand for."""
        new = self._decoder.decode(piece)
        self.decoded_length += len(new)
        return self._release(new)

    def finish(self) -> str:
        """What was still held back; incomplete characters become U+FFFD. None after a stop string."""
        if self.stopped:
            return ""
        new = self._decoder.decode(b"", final=True)
        self.decoded_length += len(new)
        shown = self._release(new)
        if self.stopped:
            return shown
        self.shown_length += len(self._held)
        shown, self._held = shown + self._held, ""
        return shown

    def _release(self, new: str) -> str:
        if not self._stop_strings:
            self.shown_length += len(new)
            return new
        text = self._held + new
        found = [place for stop in self._stop_strings if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = text[: min(found)], ""
        else:
            keep = max(_beginning_at_end(text, stop) for stop in self._stop_strings)
            shown, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self.shown_length += len(shown)
        return shown


def _beginning_at_end(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`, which is not in it whole."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
