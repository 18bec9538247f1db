"""The vendor's side: `python -m appliance.support.vendor keys | request | connect | run | read-bundle`.

keys DIR                                    makes the vendor's keys; DIR/support.pub goes into the image
request DIR --engineer NAME --endpoint A:P  prints the request to send; its secrets are in DIR/sessions/ID
connect DIR ID ANSWER                       brings the tunnel up (root) with the answer of the admin
run DIR ID COMMAND [NAME=VALUE …]           performs a command on the box and prints its answer
disconnect DIR ID                           takes the tunnel down and the session's secrets away
read-bundle DIR FILE OUT                    decrypts a bundle to a tar file
"""

import argparse
import base64
import logging
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.clock import now
from appliance.errors import Refusal, Refused
from appliance.host import SUPPORT_PORT, Host, Peer, TunnelPlan, own_machine
from appliance.private_file import replace, write_once
from appliance.support.exchange import LINE_LIMIT_BYTES, Reply, sign_command
from appliance.support.request import SessionRequest, read_answer, sign_request
from appliance.support.trust import vendor_text

DEFAULT_VALIDITY_SECONDS = 24 * 3600.0
_ANSWER_SECONDS = 120.0


class BoxRefused(Refused):
    """The box performed nothing; its reason is the sentence."""

    code = "support_box_refused"


def make_vendor_keys(folder: Path) -> Path:
    """The vendor's two private keys in `folder`, and what the image needs of them; its path."""
    identity = pyrage.x25519.Identity.generate()
    signing = Ed25519PrivateKey.generate()
    write_once(folder / "age-identity", f"{identity}\n".encode())
    write_once(folder / "signing-key", signing.private_bytes_raw())
    public = folder / "support.pub"
    text = vendor_text(str(_identity(folder).to_public()), _signing_key(folder).public_key())
    replace(public, text.encode())
    public.chmod(0o644)
    return public


def make_request(
    folder: Path,
    *,
    engineer: str,
    endpoint: str,
    vendor_address: str = "10.78.0.1",
    box_address: str = "10.78.0.2",
    validity_seconds: float = DEFAULT_VALIDITY_SECONDS,
    issued_at: float | None = None,
) -> tuple[SessionRequest, str]:
    """A fresh request and its block of text; the keys for it are made and kept in `folder`/sessions."""
    session_id = secrets.token_hex(16)
    session = _session_folder(folder, session_id)
    session.mkdir(mode=0o700, parents=True)
    command_key = Ed25519PrivateKey.generate()
    write_once(session / "command-key", command_key.private_bytes_raw())
    issued = now() if issued_at is None else issued_at
    request = SessionRequest.model_validate(
        {
            "id": session_id,
            "issued_at": issued,
            "expires_at": issued + validity_seconds,
            "engineer": engineer,
            "endpoint": endpoint,
            "tunnel_key": _machine(session).ensure_wireguard_key(),
            "command_key": _base64(command_key.public_key().public_bytes_raw()),
            "vendor_address": vendor_address,
            "box_address": box_address,
        }
    )
    write_once(session / "request.json", request.model_dump_json().encode())
    return request, sign_request(request, _signing_key(folder))


def connect(
    folder: Path, session_id: str, answer: str, interface: str, box_endpoint: str | None = None
) -> None:
    """Brings the vendor's end of the tunnel up. Needs root. Raises RequestUnreadable, BROKER_ERRORS.

    The box calls every five seconds; where its outer address is known, nobody need wait for that.
    """
    session = _session_folder(folder, session_id)
    request = _request(session)
    peer = Peer(
        public_key=read_answer(answer, session_id),
        allowed_ips=(IPv4Network(request.box_address),),
        endpoint=box_endpoint,
    )
    plan = TunnelPlan(
        interface=interface,
        address=IPv4Interface(request.vendor_address),
        listen_port=int(request.endpoint.rpartition(":")[2]),
        peers=(peer,),
    )
    _machine(session).apply_tunnel(plan)


def disconnect(folder: Path, session_id: str, interface: str) -> None:
    """Takes the tunnel down and forgets the session's keys."""
    session = _session_folder(folder, session_id)
    _machine(session).remove_tunnel(interface)
    shutil.rmtree(session)


class Connection:
    """One connection to the box's service, inside of the tunnel. Raises OSError when it can't be reached."""

    def __init__(self, folder: Path, session_id: str, timeout_seconds: float = _ANSWER_SECONDS) -> None:
        session = _session_folder(folder, session_id)
        self._id = session_id
        self._key = Ed25519PrivateKey.from_private_bytes((session / "command-key").read_bytes())
        address = (str(_request(session).box_address), SUPPORT_PORT)
        self._socket = socket.create_connection(address, timeout=timeout_seconds)
        self._lines = self._socket.makefile("rb")
        self._nonce = self._receive().nonce

    def run(self, command: str, arguments: Mapping[str, str] | None = None) -> str:
        """The box's answer. Raises BoxRefused."""
        asked = sign_command(self._key, self._id, self._nonce, command, arguments or {})
        return self.send(asked.model_dump_json().encode() + b"\n")

    def send(self, line: bytes) -> str:
        """The answer to one line as it stands."""
        self._socket.sendall(line)
        reply = self._receive()
        self._nonce = reply.nonce
        if reply.refused:
            raise BoxRefused(reply.refused)
        return reply.answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _receive(self) -> Reply:
        line = self._lines.readline(LINE_LIMIT_BYTES)
        if not line:
            raise ConnectionError("the box hung up")
        return Reply.model_validate_json(line)


def read_bundle(folder: Path, encrypted: bytes) -> bytes:
    """The tar file in a bundle. Raises pyrage.DecryptError."""
    return bytes(pyrage.decrypt(encrypted, [_identity(folder)]))


def main(words: list[str] | None = None) -> int:
    """The command line; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = _parser().parse_args(words)
    try:
        given.act(given)
    except (Refusal, OSError, pyrage.DecryptError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m appliance.support.vendor")
    acts = parser.add_subparsers(required=True)

    def act(
        name: str, do: Callable[[argparse.Namespace], object], *positional: str
    ) -> argparse.ArgumentParser:
        added = acts.add_parser(name)
        added.add_argument("folder", type=Path)
        for word in positional:
            added.add_argument(word)
        added.add_argument("--interface", default="cellulesupport")
        added.set_defaults(act=do)
        return added

    act("keys", lambda given: _say(str(make_vendor_keys(given.folder))))
    request = act(
        "request",
        lambda given: _say(make_request(given.folder, engineer=given.engineer, endpoint=given.endpoint)[1]),
    )
    request.add_argument("--engineer", required=True)
    request.add_argument("--endpoint", required=True)
    act(
        "connect",
        lambda given: connect(given.folder, given.id, given.answer, given.interface),
        "id",
        "answer",
    )
    run = act("run", _run, "id", "command")
    run.add_argument("arguments", nargs="*", metavar="NAME=VALUE")
    act("disconnect", lambda given: disconnect(given.folder, given.id, given.interface), "id")
    act("read-bundle", _read_bundle, "file", "out")
    return parser


def _run(given: argparse.Namespace) -> None:
    connection = Connection(given.folder, given.id)
    try:
        _say(connection.run(given.command, dict(word.split("=", 1) for word in given.arguments)))
    finally:
        connection.close()


def _read_bundle(given: argparse.Namespace) -> None:
    replace(Path(given.out), read_bundle(given.folder, Path(given.file).read_bytes()))


def _say(text: str) -> None:
    print(text.rstrip("\n"))  # noqa: T201


def _session_folder(folder: Path, session_id: str) -> Path:
    return folder / "sessions" / session_id


def _request(session: Path) -> SessionRequest:
    return SessionRequest.model_validate_json((session / "request.json").read_bytes())


def _machine(session: Path) -> Host:
    return own_machine(session / "tunnel-key", session)


def _identity(folder: Path) -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.from_str((folder / "age-identity").read_text().strip())


def _signing_key(folder: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes((folder / "signing-key").read_bytes())


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


if __name__ == "__main__":
    sys.exit(main())
