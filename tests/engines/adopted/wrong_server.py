"""A small real server that speaks OpenAI's API rightly, but for the one thing that a test makes wrong."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = (
    *("A", "computer", "can", "write", "letters,", "keep", "accounts,", "and", "find", "what", "was"),
    *("filed", "long", "ago."),
)


@dataclass
class Manners:
    """How it behaves; as it comes, all is right."""

    words: tuple[str, ...] = ANSWER
    model: str = "house-8b"
    root: str = ""
    shifts: int = 0
    """Added to the words of each prompt when they are counted: another tokenizer."""
    tells_usage: bool = True
    streams: bool = True
    keeps_limit: bool = True
    right_object: bool = True
    breaks_off: bool = False
    wanted_key: str = ""
    silent: bool = False
    words_of_stream: tuple[str, ...] = ()


class WrongServer:
    """It answers on `port` of loopback; `manners` may be changed while it runs."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.asked: list[dict[str, Any]] = []
        self.closed_early = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def wrong_server(manners: Manners | None = None) -> Iterator[WrongServer]:
    server = WrongServer(manners or Manners())
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    owner: WrongServer
    protocol_version = "HTTP/1.1"
    server_version = "house"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        manners = self.owner.manners
        if manners.silent:
            time.sleep(30)
        if not self._has_key():
            return
        if self.path != "/v1/models":
            self._answer(404, {"error": {"message": "not here"}})
            return
        model = {"id": manners.model, "object": "model", "owned_by": "house", "root": manners.root}
        self._answer(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.asked.append(body)
        if self.owner.manners.silent:
            time.sleep(30)
        if not self._has_key():
            return
        if body.get("stream"):
            self._stream(body)
        else:
            words, finish = self._words(body, self.owner.manners.words)
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            kind = "chat.completion" if self.owner.manners.right_object else "answer"
            self._answer(200, {**self._head(kind), "choices": [choice], **self._usage(body, words)})

    def _stream(self, body: dict[str, Any]) -> None:
        manners = self.owner.manners
        words, finish = self._words(body, manners.words_of_stream or manners.words)
        head = self._head("chat.completion.chunk")
        parts = [(word if place == 0 else f" {word}") for place, word in enumerate(words)]
        chunks = [{"index": 0, "delta": {"content": part}, "finish_reason": None} for part in parts]
        events = [{**head, "choices": [one]} for one in chunks]
        events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        events.append({**head, "choices": [], **self._usage(body, words)})
        lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for line in lines[: len(lines) // 2] if manners.breaks_off else lines:
                self.wfile.write(line) if manners.streams else None
                self.wfile.flush()
                time.sleep(0.005 if manners.streams else 0)
            if not manners.streams:
                self.wfile.write(b"".join(lines))
        except OSError:
            self.owner.closed_early.set()
        self.close_connection = True

    def _words(self, body: dict[str, Any], words: tuple[str, ...]) -> tuple[list[str], str]:
        limit = body.get("max_tokens", len(words))
        if not self.owner.manners.keeps_limit or len(words) <= limit:
            return list(words), "stop"
        return list(words[:limit]), "length"

    def _usage(self, body: dict[str, Any], words: list[str]) -> dict[str, Any]:
        if not self.owner.manners.tells_usage:
            return {}
        text = " ".join(message["content"] for message in body["messages"])
        read = len(text.split()) + 4 + self.owner.manners.shifts
        made = len(words)
        return {"usage": {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "1", "object": kind, "created": 1, "model": self.owner.manners.model}

    def _has_key(self) -> bool:
        wanted = self.owner.manners.wanted_key
        if not wanted or self.headers.get("authorization") == f"Bearer {wanted}":
            return True
        self._answer(401, {"error": {"message": "no key"}})
        return False

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
