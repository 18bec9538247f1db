"""One origin with the real pages and a /v1 that does what a test says: slow, dying, refusing, oddly cut.

The pages are webadmin's own, over real storage; only the answers come from a script, because a real engine
does not fail on demand.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from appliance.people import Account, Role, insert_account, start_session
from appliance.settings import Settings
from appliance.storage import open_cellule, transaction
from webadmin import create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Script = Callable[[dict[str, Any]], Response]


def event(payload: object) -> bytes:
    """One server-sent event with `payload` as JSON, its UTF-8 unescaped as the engine writes it."""
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def chunk(text: str = "", finish_reason: str | None = None) -> bytes:
    """One chat.completion.chunk."""
    delta = {"content": text} if text else {}
    return event(
        {
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
    )


def ending(tokens: int = 4, finish_reason: str = "stop") -> bytes:
    """How an answer ends: the reason, the usage, [DONE]."""
    usage = event(
        {
            "choices": [],
            "usage": {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens},
        }
    )
    return chunk(finish_reason=finish_reason) + usage + b"data: [DONE]\n\n"


def stream(pieces: Iterator[bytes] | list[bytes], node: str = "atelier-3", place: int = 0) -> Response:
    """A 200 whose body is sent piece by piece."""
    headers = {
        "x-cellule-node": node,
        "x-cellule-queue-position": str(place),
        "x-request-id": "req-1",
        "cache-control": "no-cache",
    }
    return Response(iter(pieces), 200, headers, content_type="text/event-stream", direct_passthrough=True)


def saying(text: str) -> Script:
    """Answers `text` at once, word by word."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    return lambda _: stream([*(chunk(word) for word in words), ending(len(words))])


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Script:
    """An OpenAI error object."""
    body = json.dumps({"error": {"message": message, "type": "error", "param": None, "code": code}})
    sent = {"x-request-id": "req-9", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda _: Response(body, status, sent, content_type="application/json")


class Gate:
    """Holds an answer until the test opens it; also tells when the browser left."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.left = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def between(self, before: list[bytes], after: list[bytes]) -> Script:
        """A script that sends `before`, waits for the gate (comments keep it alive), then sends `after`."""

        def pieces() -> Iterator[bytes]:
            try:
                yield from before
                while not self._opened.wait(0.05):
                    yield b": waiting\n\n"
                yield from after
            except GeneratorExit:
                self.left.set()
                raise

        return lambda _: stream(pieces())


class Http11(WSGIRequestHandler):
    """Chunked, so that a body that dies is told from one that ends; silent."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass


@dataclass
class ScriptedBox:
    """Serves until `close`. `script` answers the questions; `asked` are their requests."""

    settings: Settings
    script: Script = field(default_factory=lambda: saying("Hello"))
    asked: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "cellule-demo", "demo": True}])

    def __post_init__(self) -> None:
        self._add_account("admin", Role.ADMIN, "en")
        self._pages = create_app(self.settings)
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", self.settings.port, self._serve, threaded=True, request_handler=Http11
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Back to the start, between tests."""
        self.script = saying("Hello")
        self.models = [{"id": "cellule-demo", "demo": True}]
        self.asked.clear()

    def sign_in(self, name: str, language: str = "en") -> str:
        """A new employee's session cookie."""
        account = self._add_account(name, Role.USER, language)
        return start_session(open_cellule(self.settings.state_dir), account.id).token

    def _add_account(self, name: str, role: Role, language: str) -> Account:
        db = open_cellule(self.settings.state_dir)
        with transaction(db):  # no password opens it: these tests begin with a session
            return insert_account(db, name, "", role, language)

    def _serve(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        if request.path == "/v1/models":
            listed = json.dumps({"object": "list", "data": self.models})
            return Response(listed, content_type="application/json")(environ, start_response)
        if request.path == "/v1/chat/completions":
            asked = json.loads(request.get_data())
            self.asked.append(asked)
            return self.script(asked)(environ, start_response)
        return self._pages(environ, start_response)
