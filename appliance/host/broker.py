"""The only process with root: it performs the contract's verbs for the service user, over a unix socket.

Who calls is read from the socket itself (SO_PEERCRED), not from what they say: root and the owner of
the socket's folder are served, anybody else is hung up on. What may be asked is in `permitted`. Every verb
is logged with its outcome; what only asks, or repeats the last plan, at DEBUG. Verbs run one at a time: two
plans for one interface never mix.
"""

import logging
import os
import socket
import socketserver
import struct
import threading
import time
from contextlib import nullcontext
from pathlib import Path

from pydantic import ValidationError

from appliance.errors import Refusal
from appliance.host.contract import Host, HostFailed, InvalidPlan
from appliance.host.permitted import MEDIA_DIR, UPDATES_DIR, Limits, check_permitted
from appliance.host.wire import LINE_LIMIT_BYTES, Answer, Request, failure_of, read_request, verb_named

ONLY_ASKING = {
    "tunnel_status",
    "machine_plan",
    "machine_status",
    "slots",
    "install_status",
    "disk_install_status",
    "seal_wireguard_key",
    "support_status",
}
REPEATED = {"ensure_wireguard_key", "apply_tunnel", "apply_firewall"}
AT_ONCE = {"close_support", "support_status"}
"""Not kept waiting by a verb that takes its time: a cut is a cut."""
log = logging.getLogger(__name__)


def perform(host: Host, request: Request) -> Answer:
    """Calls the verb on `host`; its result as JSON."""
    result = getattr(host, request.verb)(**request.arguments)
    return Answer(result=verb_named(request.verb).result.dump_python(result, mode="json"))


class Broker(socketserver.ThreadingUnixStreamServer):
    """Listens on `path`, mode 0600, owned by the owner of its folder, for the tunnel `interface`."""

    daemon_threads = True

    def __init__(
        self,
        path: Path,
        host: Host,
        interface: str,
        release_folders: tuple[Path, ...] = (UPDATES_DIR, MEDIA_DIR),
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        self.host = host
        self.limits = Limits(interface, release_folders)
        self.turn = threading.Lock()
        self._last_done: dict[str, Request] = {}
        owner = path.parent.stat()
        self.served_users = {0, owner.st_uid}
        before = os.umask(0o177)
        try:
            super().__init__(str(path), Conversation)
        finally:
            os.umask(before)
        if os.geteuid() == 0:
            # whoever owns the folder could have put a link to a file of the system in the socket's place
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def answer(self, line: bytes, user: int) -> Answer:
        """Performs one request line. Never raises: what goes wrong is in the answer."""
        started = time.monotonic()
        verb, level = "?", logging.INFO
        try:
            request = read_request(line)
            verb = request.verb
            check_permitted(request, self.limits)
            with nullcontext() if verb in AT_ONCE else self.turn:
                outcome = perform(self.host, request)
                level = self._level_of(request)
        except ValidationError as error:
            # only where and what is wrong: the values could be anything
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
            outcome = Answer(failure=failure_of(InvalidPlan(f"Not a valid request: {problems}.")))
        except Refusal as refusal:
            outcome = Answer(failure=failure_of(refusal))
        except Exception as error:
            log.exception("verb %s broke", verb)
            outcome = Answer(failure=failure_of(HostFailed(f"{verb} broke: {type(error).__name__}.")))
        how = "done" if outcome.failure is None else f"refused ({outcome.failure.sentence})"
        log.log(level, "verb=%s user=%d ms=%.1f %s", verb, user, (time.monotonic() - started) * 1000, how)
        return outcome

    def _level_of(self, done: Request) -> int:
        """DEBUG for what is no news: the core repeats its plans every few seconds to heal the machine."""
        if done.verb in ONLY_ASKING:
            return logging.DEBUG
        if done.verb not in REPEATED:
            # what was planned before may be undone in part: the next plan is news, even if it is the same one
            self._last_done.clear()
            return logging.INFO
        known = self._last_done.get(done.verb) == done
        self._last_done[done.verb] = done
        return logging.DEBUG if known else logging.INFO


class Conversation(socketserver.StreamRequestHandler):
    """One connection: any number of requests, each answered before the next is read."""

    server: Broker

    def handle(self) -> None:
        user = peer_user(self.connection)
        if user not in self.server.served_users:
            log.warning("hung up on user %d", user)
            return
        while line := self.rfile.readline(LINE_LIMIT_BYTES):
            answer = self.server.answer(line, user)
            self.wfile.write(answer.model_dump_json().encode() + b"\n")
            if not line.endswith(b"\n"):
                return


def peer_user(connection: socket.socket) -> int:
    """The user id of the process at the other end, from the kernel (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, user, _group = struct.unpack("3i", credentials)
    return int(user)
