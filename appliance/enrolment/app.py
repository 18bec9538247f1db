"""POST /enrol/*: the ASGI front of `Reception`. Every answer is JSON; every refusal has the families' shape.
GET /enrol/pieces/* gives pieces of models (appliance/handout).

Only over TLS: the worker trusts the certificate's key, and without it there is nothing to trust. Who calls
is the address of the connection, never a header. The database work runs in one thread of its own, so the
event loop never waits for a disk.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from appliance.claim.certificate import certificate_pin
from appliance.enrolment.contract import (
    HELLO_PATH,
    REPORT_PATH,
    STATUS_PATH,
    SUBMIT_PATH,
    Hello,
    StatusRequest,
    Submission,
    WorkerReport,
)
from appliance.enrolment.keys import ensure_wireguard_key
from appliance.enrolment.reception import Reception
from appliance.errors import Broken, Refusal, Refused
from appliance.handout.box_files import BoxFiles
from appliance.handout.contract import PIECES_PATH
from appliance.handout.serving import PieceServer, Right
from appliance.host import brokered
from appliance.pool.asgi import ClientLeft, Message, Receive, Scope, Send, answer, answer_refusal, read_body
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule

log = logging.getLogger("cellule.enrolment")
_BODY_SECONDS = 10.0
M = TypeVar("M", bound=BaseModel)


class TlsRequired(Refused):
    """The box serves plain HTTP, where nobody could tell it from another machine."""

    code = "tls_required"
    http_status = 403


class UnknownEnrolmentPath(Refused):
    code = "not_found"
    http_status = 404


class OnlyPost(Refused):
    code = "method_not_allowed"
    http_status = 405


class OnlyGet(Refused):
    code = "method_not_allowed"
    http_status = 405


class MessageRefused(Refused):
    """The body is not the message that belongs to the path."""

    code = "message_refused"
    http_status = 422


class EnrolmentBroken(Broken):
    code = "enrolment_broken"


@dataclass(frozen=True)
class _Caller:
    """Both ends of the connection, as the kernel knows them."""

    address: str
    reached_host: str


@dataclass(frozen=True)
class _Route:
    """`respond(reception, body, caller)` runs in the database thread."""

    body_limit_bytes: int
    respond: Callable[[Reception, bytes, _Caller], BaseModel]


_ROUTES = {
    HELLO_PATH: _Route(1024, lambda box, body, caller: box.hello(_read(Hello, body), caller.address)),
    SUBMIT_PATH: _Route(
        16 * 1024, lambda box, body, caller: box.submit(_read(Submission, body), caller.address)
    ),
    STATUS_PATH: _Route(
        1024,
        lambda box, body, caller: box.status(_read(StatusRequest, body), caller.address, caller.reached_host),
    ),
    REPORT_PATH: _Route(
        256 * 1024, lambda box, body, caller: box.report(_read(WorkerReport, body), caller.address)
    ),
}


class EnrolmentApp:
    """An ASGI application for the paths under /enrol/."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="enrolment")
        self._reception: Reception | None = None
        self._pieces = PieceServer(BoxFiles(settings.state_dir / "models"), self._may_have)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        if scope["path"].startswith(PIECES_PATH):
            return await self._give_piece(scope, send)
        body_was_read = False
        try:
            route = _route(scope)
            body = await read_body(receive, scope["headers"], route.body_limit_bytes, _BODY_SECONDS)
            body_was_read = True
            result = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._respond, route, body, _caller(scope)
            )
        except ClientLeft:
            return None
        except Refusal as refusal:
            await answer_refusal(send, refusal, [], close=not body_was_read)
        except Exception:
            log.exception("%s failed", scope["path"])
            await answer_refusal(send, EnrolmentBroken("The box could not answer; its log says why."), [])
        else:
            await answer(send, 200, result, [(b"content-type", b"application/json")])

    async def _give_piece(self, scope: Scope, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if scope["method"] != "GET":
                raise OnlyGet("Only GET is answered here.")
            _need_tls(scope)
            await self._pieces.respond(scope, sending)
        except Refusal as refusal:
            await answer_refusal(send, refusal, [], close=scope["method"] != "GET")
        except Exception:
            log.exception("%s failed", scope["path"])
            if begun:
                raise  # the server ends the connection: half a piece must not look like a whole one
            await answer_refusal(send, EnrolmentBroken("The box could not answer; its log says why."), [])

    async def _may_have(self, address: str, sha256: str) -> Right:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._open().may_have(address, sha256)
        )

    def _respond(self, route: _Route, body: bytes, caller: _Caller) -> bytes:
        return route.respond(self._open(), body, caller).model_dump_json().encode()

    def _open(self) -> Reception:
        if self._reception is None:
            self._reception = _open_reception(self._settings)
        return self._reception


def _open_reception(settings: Settings) -> Reception:
    return Reception(
        open_cellule(settings.state_dir),
        open_activity(settings.state_dir),
        pin=certificate_pin(settings),
        box_public_key=ensure_wireguard_key(settings).public_key,
        wireguard_port=settings.wireguard_port,
        report_port=settings.port,
        endpoints=lambda: _endpoints(settings),
    )


def _endpoints(settings: Settings) -> dict[str, str]:
    """Where each worker is seen, public key → address:port. Raises the errors of `Host`."""
    peers = brokered(settings).tunnel_status(settings.wireguard_interface).peers
    return {peer.public_key: peer.endpoint for peer in peers if peer.endpoint is not None}


def _route(scope: Scope) -> _Route:
    route = _ROUTES.get(scope["path"])
    if route is None:
        raise UnknownEnrolmentPath("There is nothing at this address.")
    if scope["method"] != "POST":
        raise OnlyPost("Only POST is answered here.")
    _need_tls(scope)
    return route


def _need_tls(scope: Scope) -> None:
    if scope["scheme"] != "https":
        raise TlsRequired(
            "Workers can join this box only over TLS, which is off.",
            next_step="Start the box on the LAN: sudo ./build.sh run --lan.",
        )


def _caller(scope: Scope) -> _Caller:
    return _Caller(address=scope["client"][0], reached_host=scope["server"][0])


def _read(kind: type[M], body: bytes) -> M:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MessageRefused(f"{place or 'The body'}: {first['msg']}.", param=place or None) from None
