"""Engines that do as they are told: real HTTP servers on real sockets whose behaviour a test scripts.

They speak bytes, so they can also do what a good engine never does: die in mid-stream, reset, refuse,
fall silent. Each runs in a thread of its own and keeps count of what it was asked and what it served.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Behaviour = Callable[["Asked"], Awaitable[None]]


@dataclass
class Asked:
    """One request as it arrived, and the wire to answer on."""

    engine: "ScriptedEngine"
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, status: int, document: object, content_type: str = "application/json") -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        await self.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n".encode()
            + b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )

    async def begin_stream(self) -> None:
        await self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, document: object) -> None:
        await self.chunk(b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n")

    async def token(self, text: str) -> None:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        await self.event(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        )

    async def usage(self, tokens_in: int, tokens_out: int) -> None:
        usage = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
        await self.event(
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [],
                "usage": usage,
            }
        )

    async def end_stream(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Ends the connection with a TCP RST (on a unix socket: just ends it)."""
        sock = self.writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_client_left(self) -> None:
        await self.engine.until_left(self.writer)


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """A request's body, by length or in chunks."""
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def answer(asked: Asked) -> None:
    """A good engine: "one two three" as a stream or whole; 7 tokens in, 3 out."""
    document = asked.document
    if not document.get("stream"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "one two three"},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        await asked.respond(
            200,
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            },
        )
        return
    await asked.begin_stream()
    for text in ("one ", "two ", "three"):
        await asked.token(text)
    if (document.get("stream_options") or {}).get("include_usage"):
        await asked.usage(7, 3)
    await asked.end_stream()


@dataclass
class ScriptedEngine:
    """Listens on a unix socket or a TCP address; `behave` and the readiness may be changed at any time."""

    listen: Path | tuple[str, int]
    model: str = "scripted"
    behave: Behaviour = answer
    slots: int = 4
    ready: bool = True
    tokens_per_second: float = 50.0
    prompt_tokens: int = 0
    kind: str = "text"
    is_loading: bool = False
    """It says no more than that it is not ready, like a process that has just started."""
    is_stopping: bool = False
    """It finishes what it answers, as it was asked to."""
    answers_health: bool = True
    """False: GET requests are given to `behave` too."""
    asked: list[Asked] = field(default_factory=list)
    busy: int = 0
    left: int = 0
    """How many requests ended because the pool closed the connection."""

    def start(self) -> "ScriptedEngine":
        self._loop = asyncio.new_event_loop()
        self._watched: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(5)
        return self

    def stop(self) -> None:
        """Stops listening and ends every connection, as a killed process does."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        if isinstance(self.listen, Path):
            self.listen.unlink(missing_ok=True)

    @property
    def health(self) -> dict[str, Any]:
        if self.is_loading:
            return {"ready": False}
        return {
            "ready": self.ready and not self.is_stopping,
            "stopping": self.is_stopping,
            "model": self.model,
            "kind": self.kind,
            "slots": self.slots,
            "busy": self.busy,
            "waiting": 0,
            "context_tokens": 2048,
            "prompt_tokens": self.prompt_tokens,
            "tokens_per_second": self.tokens_per_second,
            "demo": True,
            "sha256": "0" * 64,
        }

    @property
    def prompts(self) -> list[str]:
        """The last message of each chat request, in the order of arrival."""
        return [asked.document["messages"][-1]["content"] for asked in list(self.asked)]

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._listen())
        started.set()
        self._loop.run_forever()
        server.close()
        for writer in self._connections:
            writer.transport.abort()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        if isinstance(self.listen, Path):
            return await asyncio.start_unix_server(self._serve, str(self.listen), limit=2**25)
        return await asyncio.start_server(self._serve, *self.listen, limit=2**25)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
        }
        body = await read_body(reader, headers)
        asked = Asked(self, path, headers, body, writer)
        if method == "GET" and self.answers_health:
            health = self.health
            await asked.respond(200 if health["ready"] else 503, health)
            return True
        self.asked.append(asked)
        self.busy += 1
        self._watched[writer] = asyncio.Event()
        task = asyncio.ensure_future(self.behave(asked))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.left += 1
                self._watched[writer].set()
                task.cancel()
                return False
            task.result()
            return not writer.is_closing()
        finally:
            self.busy -= 1
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def pause(self, seconds: float = 0.01) -> None:
        """Lets others go on; for behaviours that take time."""
        await asyncio.sleep(seconds)

    async def until_left(self, writer: asyncio.StreamWriter) -> None:
        await self._watched[writer].wait()


async def never_answer(asked: Asked) -> None:
    """A behaviour: the request is taken, and nothing ever comes back."""
    await asked.until_client_left()
