"""What support may ask of a box, by name: one table. Adding a command is adding an entry.

Every command only reads. Arguments are words of a narrow shape; what isn't in the table can't be asked.
Answers are bounded, and redacted like a bundle before they leave.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from appliance.accounting import node_overviews, pool_overview
from appliance.boot import places
from appliance.boot.checks import Box, check_answer
from appliance.clock import now
from appliance.errors import Refused
from appliance.settings import WORKER_ENGINE_PORT
from appliance.support.redaction import Redactor
from appliance.support.sources import SOURCES, UNITS, Context, Part, log_of
from appliance.support.sources.box import as_json

ANSWER_LIMIT_CHARACTERS = 128 * 1024
_PING_SECONDS = 3.0
_SOURCES = {source.name: source for source in SOURCES}


class UnknownCommand(Refused):
    """Not in the table, or with other arguments than it says."""

    code = "support_unknown_command"


@dataclass(frozen=True)
class Command:
    """`run` gets the arguments by name, each matching its pattern in `arguments`; it returns text."""

    name: str
    purpose: str
    run: Callable[[Context, Mapping[str, str]], str]
    arguments: Mapping[str, str] = field(default_factory=dict)


def perform(context: Context, redactor: Redactor, name: str, arguments: Mapping[str, str]) -> str:
    """The answer, redacted and bounded. Raises UnknownCommand, and what the command refuses with."""
    command = check_command(name, arguments)
    answer = command.run(context, arguments)
    return redactor.redact(answer[-ANSWER_LIMIT_CHARACTERS:]).text


def check_command(name: str, arguments: Mapping[str, str]) -> Command:
    """The command of that name, if it takes these arguments. Raises UnknownCommand."""
    command = COMMANDS.get(name)
    if command is None:
        raise UnknownCommand("There is no such command.", next_step=f"Known: {', '.join(COMMANDS)}.")
    if arguments.keys() != command.arguments.keys():
        raise UnknownCommand(f"{name} takes {', '.join(command.arguments) or 'no arguments'}.")
    for argument, pattern in command.arguments.items():
        if not re.fullmatch(pattern, arguments[argument], re.ASCII):
            raise UnknownCommand(f"{argument} of {name} must match {pattern}.")
    return command


def _parts(source: str) -> Callable[[Context, Mapping[str, str]], str]:
    def run(context: Context, _: Mapping[str, str]) -> str:
        return "".join(_with_title(_SOURCES[source].read(context)))

    return run


def _with_title(parts: Iterator[Part]) -> Iterator[str]:
    for part in parts:
        yield f"== {part.path}\n{part.text}\n"


def _log(context: Context, arguments: Mapping[str, str]) -> str:
    return log_of(context.settings, arguments["unit"], int(arguments["lines"]))


def _fleet(context: Context, _: Mapping[str, str]) -> str:
    names = dict(context.db.execute("SELECT id, name FROM workers WHERE state = 'approved'").fetchall())
    pool = pool_overview(context.activity, now())
    return as_json({"pool": pool, "nodes": node_overviews(context.activity, names, now())})


def _ping_worker(context: Context, arguments: Mapping[str, str]) -> str:
    row = context.db.execute(
        "SELECT tunnel_address FROM workers WHERE id = ? AND state = 'approved'", [arguments["worker"]]
    ).fetchone()
    if row is None:
        raise UnknownCommand("There is no such worker.", next_step="fleet lists their ids.")
    began = now()
    try:
        socket.create_connection((row[0], WORKER_ENGINE_PORT), timeout=_PING_SECONDS).close()
    except OSError as error:
        return f"{row[0]}:{WORKER_ENGINE_PORT}: {error}\n"
    return f"{row[0]}:{WORKER_ENGINE_PORT}: connected in {(now() - began) * 1000:.1f} ms\n"


def _prompt(context: Context, _: Mapping[str, str]) -> str:
    return check_answer(Box(context.settings, places(context.settings))) + "\n"


def _help(_: Context, __: Mapping[str, str]) -> str:
    return "".join(
        f"{command.name} {' '.join(command.arguments)}: {command.purpose}\n" for command in COMMANDS.values()
    )


_TABLE = (
    Command("help", "lists the commands", _help),
    Command("status", "version, slots, machine, tunnel", _parts("machine")),
    Command("settings", "settings and what admins chose", _parts("settings")),
    Command("boots", "verdict and breadcrumbs of the last starts", _parts("boots")),
    Command("jobs", "how each job of the core ended last", _parts("jobs")),
    Command("storage", "tables and rows, and how requests ended", _parts("storage")),
    Command("hardware", "processor, memory, devices, disk usage", _parts("hardware")),
    Command("fleet", "nodes, engines and the queue", _fleet),
    Command(
        "log",
        "the last lines of a unit",
        _log,
        {"unit": "|".join(map(re.escape, UNITS)), "lines": "[1-9][0-9]{0,3}"},
    ),
    Command(
        "ping-worker", "whether a worker's engine port answers", _ping_worker, {"worker": r"[\w-]{1,64}"}
    ),
    Command("prompt", "asks the engine the fixed prompt of the verdict", _prompt),
)
COMMANDS = {command.name: command for command in _TABLE}
