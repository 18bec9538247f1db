"""The one thing that the vendor reaches: performs named commands, each noted in the audit trail before.

It listens on the box's address in the support tunnel and runs only while a session is open: it ends as soon
as the record of the session says so, at the session's end by a clock that nobody can set, and by SIGTERM.
"""

import logging
import os
import socketserver
import threading
import time
from contextlib import ExitStack

from pydantic import ValidationError

from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import SUPPORT_PORT, brokered
from appliance.people import AuditEvent, record_audit
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from appliance.support.commands import check_command, perform
from appliance.support.exchange import (
    COMMAND_LIMIT_BYTES,
    AskedCommand,
    Reply,
    check_command_signature,
    make_nonce,
)
from appliance.support.redaction import Redactor, box_pseudonyms, known_of
from appliance.support.sessions import Session, open_now
from appliance.support.sources import Context

LOOK_SECONDS = 0.2
IDLE_SECONDS = 600.0
log = logging.getLogger("cellule.support")


class SupportServer(socketserver.ThreadingTCPServer):
    """One vendor's connections, for one session."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, settings: Settings, session: Session) -> None:
        self.settings = settings
        self.session = session
        self.turn = threading.Lock()
        super().__init__((str(session.request.box_address), SUPPORT_PORT), Conversation)


class Conversation(socketserver.StreamRequestHandler):
    """One connection: each command is answered before the next is read; one command at a time over all."""

    server: SupportServer
    timeout = IDLE_SECONDS

    def handle(self) -> None:
        nonce = make_nonce()
        try:
            self._send(Reply(nonce=nonce))
            while line := self.rfile.readline(COMMAND_LIMIT_BYTES):
                with self.server.turn:
                    reply = answer_line(self.server.settings, self.server.session, nonce, line)
                nonce = reply.nonce
                self._send(reply)
        except (ConnectionError, TimeoutError):
            return

    def _send(self, reply: Reply) -> None:
        self.wfile.write(reply.model_dump_json().encode() + b"\n")


def answer_line(settings: Settings, session: Session, nonce: str, line: bytes) -> Reply:
    """Performs one command line. Never raises: what goes wrong is in the reply."""
    following = make_nonce()
    with ExitStack() as opened:
        db = opened.enter_context(open_cellule(settings.state_dir))
        activity = opened.enter_context(open_activity(settings.state_dir))
        current = open_now(db)
        if current is None or current.id != session.id or now() >= session.until:
            return Reply(nonce=following, refused="The session is over.")
        context = Context(settings, db, activity, brokered(settings))
        redactor = Redactor(known_of(settings, db), box_pseudonyms(settings), hide_addresses=False)
        try:
            asked = AskedCommand.model_validate_json(line)
            check_command_signature(session.request.command_public_key, session.id, nonce, asked)
            check_command(asked.command, asked.arguments)
        except ValidationError:
            return Reply(nonce=following, refused="Not a command.")
        except Refusal as refusal:
            _note(context, session, AuditEvent.VENDOR_SUPPORT_COMMAND, f"refused: {refusal.sentence}")
            return Reply(nonce=following, refused=str(refusal))
        return _performed(context, redactor, session, asked, following)


def _performed(
    context: Context, redactor: Redactor, session: Session, asked: AskedCommand, nonce: str
) -> Reply:
    words = " ".join([asked.command, *(f"{name}={value}" for name, value in asked.arguments.items())])
    # first the trail, then the deed: what could not be noted is not done
    _note(context, session, AuditEvent.VENDOR_SUPPORT_COMMAND, words)
    began = time.monotonic()
    try:
        answer = perform(context, redactor, asked.command, asked.arguments)
        reply, outcome = Reply(nonce=nonce, answer=answer), f"{len(answer)} characters"
    except Refusal as refusal:
        reply, outcome = Reply(nonce=nonce, refused=str(refusal)), f"refused: {refusal.sentence}"
    except Exception as error:
        log.exception("the command %s broke", asked.command)
        reply, outcome = Reply(nonce=nonce, refused="The command broke."), f"broke: {type(error).__name__}"
    seconds = time.monotonic() - began
    _note(context, session, AuditEvent.VENDOR_SUPPORT_DONE, f"{words}: {outcome} in {seconds:.1f} s")
    return reply


def _note(context: Context, session: Session, event: AuditEvent, detail: str) -> None:
    record_audit(
        context.activity,
        event,
        actor=session.request.engineer,
        address=str(session.request.vendor_address),
        subject=session.id[:8],
        detail=detail,
    )


def serve(settings: Settings) -> None:
    """Serves the session that is open, until it is over; returns at once when none is."""
    with open_cellule(settings.state_dir) as db:
        session = open_now(db)
        if session is None:
            log.info("no session is open")
            return
        deadline = time.monotonic() + session.until - now()
        with SupportServer(settings, session) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
            log.info("support can ask until the session is over")
            while time.monotonic() < deadline and _is_open(open_now(db), session):
                time.sleep(LOOK_SECONDS)
            server.shutdown()
    # a command that runs has no right to end
    os._exit(0)


def _is_open(current: Session | None, session: Session) -> bool:
    return current is not None and current.id == session.id and now() < session.until
