"""The box as it is set up and as it says it is: version, slots, machine, settings, choices, jobs, verdict."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter

from appliance import VERSION
from appliance.boot import damaged_releases, full_text, places, read_word, refused_releases
from appliance.errors import Refusal
from appliance.host import SUPPORT_PORT
from appliance.jobs.state import read_job_states
from appliance.support.sources.context import Context, Part

BOOTS_TOLD = 10
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def machine(context: Context) -> Iterator[Part]:
    """Version, slots and the machine in the broker's words; a verb that is refused says so in its place."""
    host = context.host
    asked: dict[str, Callable[[], object]] = {
        "machine_status": host.machine_status,
        "machine_plan": host.machine_plan,
        "slots": host.slots,
        "install_status": host.install_status,
        "support_status": host.support_status,
        "tunnel_status": lambda: host.tunnel_status(context.settings.wireguard_interface),
    }
    answers = {name: _answer(ask) for name, ask in asked.items()}
    yield Part("machine.json", as_json({"version": VERSION, "support_port": SUPPORT_PORT, **answers}))


def settings(context: Context) -> Iterator[Part]:
    """Where things lie, and what admins chose."""
    yield Part("settings.json", as_json(context.settings))
    choices = {
        row["subject"]: {"chosen_at": row["chosen_at"], "value": json.loads(row["value"])}
        for row in context.db.query("SELECT subject, value, chosen_at FROM choices ORDER BY subject")
    }
    yield Part("choices.json", as_json(choices))


def jobs(context: Context) -> Iterator[Part]:
    """How each job of the core ended last."""
    yield Part("jobs.json", as_json(read_job_states(context.settings)))


def boots(context: Context) -> Iterator[Part]:
    """This start's verdict, the breadcrumbs of the last starts, and the stories of releases given up."""
    where = places(context.settings)
    word = read_word(where.verdict)
    yield Part("boot/verdict.json", as_json(word))
    trails = sorted(where.breadcrumbs.glob("*.jsonl"))[-BOOTS_TOLD:]
    for trail in trails:
        yield Part(f"boot/{trail.name}", trail.read_text(errors="replace"))
    for release in refused_releases(context.db):
        yield Part(f"boot/refused-{release.version}.txt", full_text(release.story))
    for number, damaged in enumerate(damaged_releases(context.db)):
        # the newest first; one version may have been damaged more than once
        yield Part(f"boot/damaged-{number}-{damaged.version}.txt", full_text(damaged.story))


def as_json(value: object) -> str:
    """Indented, with what pydantic and dataclasses can tell of themselves."""
    return json.dumps(_ANYTHING.dump_python(value, mode="json"), indent=2, sort_keys=True) + "\n"


def _answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except Refusal as refusal:
        return {"refused": refusal.code, "sentence": str(refusal)}
