"""An upstream that costs nothing: answers every chat request at once, or streams chunks at a steady pace.

    python -m tests.bench.gateway_upstream PORT

`max_tokens` is the number of chunks and `seed` the milliseconds between them.
"""

import asyncio
import re
import sys

import uvloop

_START = b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,'
_CHUNK = (
    _START + b'"model":"mock","choices":[{"index":0,"delta":{"content":"token "},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
_LAST = (
    _START + b'"model":"mock","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
)
_USAGE = (
    _START + b'"model":"mock","choices":[],"usage":{"prompt_tokens":21,"completion_tokens":50,'
    b'"total_tokens":71}}\n\n'
)
_TEXT = b"The quick brown fox jumps over the lazy dog. " * 8
_WHOLE = (
    b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,"model":"mock","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"%s"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":21,"completion_tokens":50,"total_tokens":71}}' % _TEXT
)
_WHOLE_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_WHOLE),
    _WHOLE,
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_NUMBER = {name: re.compile(rb'"%s": ?(\d+)' % name) for name in (b"max_tokens", b"seed")}


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Answering(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(rest) < int(length[1])):
            return
        self._received = b""
        if b'"stream":true' not in rest and b'"stream": true' not in rest:
            self._write(_WHOLE_ANSWER)
            return
        self._left = self._number(rest, b"max_tokens")
        self._seconds = self._number(rest, b"seed") / 1000
        self._usage = b'"include_usage":true' in rest or b'"include_usage": true' in rest
        self._due = asyncio.get_running_loop().time()
        self._write(_STREAM_HEAD)
        self._next()

    def _number(self, body: bytes, name: bytes) -> int:
        found = _NUMBER[name].search(body)
        return int(found[1]) if found else 1

    def _next(self) -> None:
        self._left -= 1
        if self._left > 0:
            self._write(chunked(_CHUNK))
            self._due += self._seconds
            self._timer = asyncio.get_running_loop().call_at(self._due, self._next)
            return
        self._write(
            chunked(_LAST)
            + (chunked(_USAGE) if self._usage else b"")
            + chunked(b"data: [DONE]\n\n")
            + b"0\r\n\r\n"
        )

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
