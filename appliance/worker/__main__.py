"""`python -m appliance.worker join | run | status`.

`join` takes the code from a prompt, from a file, or from standard input; never from the command line,
where every user of the machine could read it. Exit codes: 0 stopped, 1 refused (a sentence says why),
2 wrong usage, 3 taken out of the fleet.
"""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from appliance.enrolment.discovery import find_boxes
from appliance.enrolment.pinned import Address
from appliance.errors import Refusal, Refused
from appliance.host import NotPermitted, own_machine
from appliance.worker.agent import Agent, WorkerRevoked
from appliance.worker.joining import redeem_code, wait_for_approval
from appliance.worker.membership import Membership, MembershipStore, NotJoined
from appliance.worker.standing import FindBoxes

STATE_DIR = Path("/var/lib/cellule-worker")
INTERFACE = "cellule0"
DEFAULT_BOX_PORT = 443

_COMPARE = """
    +-------------+
    |   {code}   |
    +-------------+

This machine is {name}. In the web admin, under Workers, compare this code with the one
shown there, then approve it. Waiting; Ctrl-C is safe, the same command goes on.
"""


class CodeUnreadable(Refused):
    """The file with the code can't be read, or the prompt was left."""

    code = "code_unreadable"


def join(given: argparse.Namespace, store: MembershipStore) -> None:
    """Redeems, waits for the admin, then runs. What was begun before is gone on with."""
    membership = store.load()
    search = _search(given.box)
    if membership is None or given.code_file is not None:
        membership = redeem_code(store, _read_code(given.code_file), given.interface, search)
    if membership.config is None:
        code = f"{membership.short_code[:3]} {membership.short_code[3:]}"
        _say(_COMPARE.format(name=membership.name, code=code))
        membership = wait_for_approval(store, membership, search)
    _say(f"Joined. From now on this starts it again:\n    {_command('run', given.state)}")
    _work(store, membership, search)


def run(given: argparse.Namespace, store: MembershipStore) -> None:
    """Works with what `join` has stored. Raises NotJoined."""
    membership = store.load()
    if membership is None or membership.config is None:
        raise NotJoined(
            "This machine has not joined a box.", next_step=f"Join first: {_command('join', given.state)}"
        )
    _work(store, membership, _search(given.box))


def status(given: argparse.Namespace, store: MembershipStore) -> None:
    """Says where this machine stands, for a person. Raises NotJoined."""
    membership = store.load()
    if membership is None:
        raise NotJoined(
            "This machine has not joined a box.", next_step=f"Join: {_command('join', given.state)}"
        )
    _say(f"name: {membership.name}\nbox: {membership.address[0]} port {membership.address[1]}")
    if membership.config is None:
        _say(f"waits for approval with the short code {membership.short_code}")
        return
    host = own_machine(store.key_path(membership.invitation_id), store.folder)
    tunnel = host.tunnel_status(membership.interface)
    _say(f"tunnel address: {membership.config.tunnel_address}\ntunnel: {tunnel.kind or 'down'}")
    for peer in tunnel.peers:
        seen = "never" if peer.handshake_at is None else f"{time.time() - peer.handshake_at:.0f} s ago"
        _say(f"last handshake: {seen}")


def _work(store: MembershipStore, membership: Membership, search: FindBoxes) -> None:
    host = own_machine(store.key_path(membership.invitation_id), store.folder)
    Agent(store, membership, host, search).run()


def _search(box: Address | None) -> FindBoxes:
    return find_boxes if box is None else lambda: (box,)


def box_address(text: str) -> Address:
    """HOST or HOST:PORT as given to --box. Raises argparse.ArgumentTypeError."""
    host, _, port = text.partition(":")
    if not host or (port and not port.isdecimal()) or not 0 < int(port or DEFAULT_BOX_PORT) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST or HOST:PORT")
    return host, int(port or DEFAULT_BOX_PORT)


def _read_code(file: Path | None) -> str:
    try:
        if file is not None:
            return file.read_text()
        return input("Invitation code: ") if sys.stdin.isatty() else sys.stdin.readline()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise CodeUnreadable(f"The code could not be read: {error}.", next_step="Give its file.") from error


def _command(verb: str, state: Path) -> str:
    # how this program was called; a clone has its own entry
    entry = os.environ.get("CELLULE_WORKER_COMMAND", "python -m appliance.worker")
    where = "" if state == STATE_DIR else f" --state {state}"
    return f"{entry} {verb}{where}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m appliance.worker", description="A PC that answers for the box."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, work in (("join", join), ("run", run), ("status", status)):
        one = verbs.add_parser(verb, help=(work.__doc__ or "").partition(".")[0], allow_abbrev=False)
        one.set_defaults(work=work)
        one.add_argument("--state", type=Path, default=STATE_DIR, metavar="DIR")
        if verb != "status":
            one.add_argument(
                "--box", type=box_address, metavar="HOST[:PORT]", help="instead of searching by mDNS"
            )
        if verb == "join":
            one.add_argument("--code-file", type=Path, metavar="FILE", help="instead of the prompt")
            one.add_argument("--interface", default=INTERFACE, metavar="NAME", help="of the tunnel")
    return parser


def _stop(*_: object) -> NoReturn:
    # once: the clearing up that follows is not to be interrupted
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    given = _parser().parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s worker %(levelname)s %(message)s", stream=sys.stderr
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    store = MembershipStore(given.state.absolute())
    try:
        if given.verb == "status":
            status(given, store)
            return
        if os.geteuid() != 0:
            raise NotPermitted(
                "A worker makes a tunnel and firewall rules.", next_step="Run it as root (sudo)."
            )
        with store.taken():
            given.work(given, store)
    except KeyboardInterrupt:
        _say("Stopped.")
    except WorkerRevoked as error:
        _say(str(error))
        sys.exit(3)
    except Refusal as error:
        _say(f"Stopped: {error}")
        sys.exit(1)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
