"""A client that costs little: whole answers one after the other, or many streams at once.

    python -m tests.bench.gateway_load PORT KEY requests CONNECTIONS REQUESTS
    python -m tests.bench.gateway_load PORT KEY streams STREAMS CHUNKS MILLISECONDS

Prints {"answered": requests or whole streams, "chunks": data events received, "broken": the rest, "seconds"}.
"""

import asyncio
import json
import sys
import time

import uvloop

_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Tell me about the quick brown fox and the lazy dog, in detail please."},
]


def request_bytes(port: int, key: str, **parameters: object) -> bytes:
    body = json.dumps(
        {"model": "mock", "messages": _MESSAGES, "temperature": 0.7, **parameters}, separators=(",", ":")
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\naccept: */*\r\nuser-agent: load\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Tally:
    """What all connections together have seen, and how many requests may still be sent."""

    def __init__(self, request: bytes, requests: int, connections: int, chunks: int) -> None:
        self.request = request
        self.to_send = requests
        self.running = connections
        self.chunks_wanted = chunks
        self.answered = self.chunks = self.broken = 0
        self.done = asyncio.Event()

    def ended(self) -> None:
        self.running -= 1
        if not self.running:
            self.done.set()


class Client(asyncio.Protocol):
    """One connection. A stream is whole when it had all its chunks, [DONE] and the last HTTP chunk."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        tally = self._tally
        if not tally.to_send:
            self._waiting = False
            self._transport.close()
            return
        tally.to_send -= 1
        self._waiting = True
        self._got = b""
        self._needed = -1
        self._chunks = 0
        self._transport.write(tally.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._tally.chunks_wanted:
            self._stream(data)
        else:
            self._whole(data)

    def _whole(self, data: bytes) -> None:
        self._got += data
        if self._needed < 0:
            head, found, _ = self._got.partition(b"\r\n\r\n")
            if not found:
                return
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            if not head.startswith(b"HTTP/1.1 200") or not length:
                self._break(head)
                return
            self._needed = len(head) + 4 + int(length)
        if len(self._got) >= self._needed:
            self._tally.answered += 1
            self._send()

    def _stream(self, data: bytes) -> None:
        self._chunks += data.count(b"chat.completion.chunk")
        if not data.endswith(b"0\r\n\r\n") and not self._got.endswith(b"0\r\n"):
            self._got = data[-16:]
            return
        if self._chunks < self._tally.chunks_wanted:
            self._break(data)
            return
        self._tally.chunks += self._chunks
        self._tally.answered += 1
        self._send()

    def _break(self, what: bytes) -> None:
        if not self._tally.broken:
            print(what[:300], file=sys.stderr)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._tally.broken += 1
        self._tally.ended()


async def main(port: int, key: str, mode: str, *numbers: int) -> None:
    if mode == "requests":
        connections, requests = numbers
        tally = Tally(request_bytes(port, key), requests, connections, 0)
    else:
        connections, chunks, milliseconds = numbers
        request = request_bytes(port, key, stream=True, max_tokens=chunks, seed=milliseconds)
        tally = Tally(request, connections, connections, chunks)
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    for number in range(connections):
        await loop.create_connection(lambda: Client(tally), "127.0.0.1", port)
        if mode == "streams" and number % 50 == 49:
            await asyncio.sleep(0.02)
    await tally.done.wait()
    seconds = time.monotonic() - started
    print(
        json.dumps(
            {"answered": tally.answered, "chunks": tally.chunks, "broken": tally.broken, "seconds": seconds}
        )
    )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], *(int(number) for number in sys.argv[4:])))
