"""What the box itself is, and whether the models on every node are well: asked in turn, one at a time.

Models that answer with text are asked. A check is due when one was never asked on that node, an hour after
the last good answer, and ten minutes after a bad one. It waits while the engine has other work: the check
must not be what makes people wait.
"""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from appliance.boot.asking import ask
from appliance.boot.fixed_prompt import judge_answer, request_body
from appliance.clock import now
from appliance.engines.options import Kind
from appliance.hardware import (
    ChosenProfile,
    HealthRecord,
    gather,
    keep_hardware,
    keep_health,
    known_health,
    known_machines,
    own_hardware,
    profile_folders,
)
from appliance.hardware.health import LONGEST_ANSWER_TOKENS, HealthJudgement, judge_health
from appliance.settings import BOX_NODE, SILENT_AFTER_SECONDS, Settings
from appliance.storage import open_activity, open_cellule

GOOD_FOR_SECONDS, BAD_FOR_SECONDS = 3600.0, 600.0


@dataclass(frozen=True)
class _Engine:
    """A ready engine and where it is asked: the box's socket, or its address in a worker's tunnel."""

    node: str
    where: Path | str
    said: Mapping[str, Any]


def recognise_box(settings: Settings) -> str:
    """Looks what the box is and keeps it for the pages."""
    facts = gather()
    with open_activity(settings.state_dir) as activity:
        keep_hardware(activity, BOX_NODE, facts, now())
    report = own_hardware(profile_folders(settings), facts)
    return f"the box is: {report.chosen.title if report.chosen else 'nothing that computes'}"


def check_health(settings: Settings) -> str:
    """Asks the next model that is due; what was found, as a sentence."""
    with open_cellule(settings.state_dir) as database, open_activity(settings.state_dir) as activity:
        due = (
            (engine, profile)
            for engine in _due(settings, database, activity)
            if (profile := _profile_of(engine.node, settings, activity))
        )
        first = next(due, None)
        if first is None:
            return ""
        record = _asked(*first)
        keep_health(activity, record)
    return "" if record.ok else f"{record.model} on {record.node} is not well: {record.sentence}"


def _due(settings: Settings, database: Database, activity: Database) -> Iterator[_Engine]:
    known = known_health(activity)
    for engine in _engines(settings, database, activity):
        said = engine.said
        if not said.get("ready") or said.get("busy") or said.get("kind", Kind.TEXT) != Kind.TEXT:
            continue
        last = known.get((engine.node, said["model"]))
        if last is None or now() - last.at > (GOOD_FOR_SECONDS if last.ok else BAD_FOR_SECONDS):
            yield engine


def _engines(settings: Settings, database: Database, activity: Database) -> Iterator[_Engine]:
    for socket in settings.engine_sockets():
        try:
            _, body = ask(socket, "/health/ready")
            yield _Engine(BOX_NODE, socket, json.loads(body))
        except (OSError, http.client.HTTPException, ValueError):
            continue
    addresses = {
        row["id"]: row["tunnel_address"] for row in database["workers"].rows_where("state = 'approved'")
    }
    recent = activity.execute(
        "SELECT node, report FROM node_reports WHERE at > ?", [now() - SILENT_AFTER_SECONDS]
    ).fetchall()
    for node, report in recent:
        for said in json.loads(report).get("engines", ()) if addresses.get(node) else ():
            yield _Engine(node, f"http://{addresses[node]}:{said['port']}", said)


def _profile_of(node: str, settings: Settings, activity: Database) -> ChosenProfile | None:
    facts = known_machines(activity).get(node)
    return own_hardware(profile_folders(settings), facts).chosen if facts else None


def _asked(engine: _Engine, profile: ChosenProfile) -> HealthRecord:
    model, is_demo = str(engine.said["model"]), bool(engine.said.get("demo"))
    began = time.monotonic()
    try:
        status, body = ask(
            engine.where,
            "/v1/chat/completions",
            body=request_body(model) if is_demo else _prompt(model, profile),
            timeout_seconds=profile.health_limit_seconds,
        )
        answer = str(json.loads(body)["choices"][0]["message"]["content"]) if status == 200 else ""
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        judgement = HealthJudgement(False, f"It broke off its answer: {error}.")
    else:
        seconds = time.monotonic() - began
        judgement = _judged(status, answer, seconds, profile, is_demo=is_demo)
    return HealthRecord(
        engine.node, model, now(), judgement.ok, round(time.monotonic() - began, 2), judgement.sentence
    )


def _judged(
    status: int, answer: str, seconds: float, profile: ChosenProfile, *, is_demo: bool
) -> HealthJudgement:
    if status != 200:
        return HealthJudgement(False, f"It refused the fixed prompt with status {status}.")
    if is_demo:
        judged = judge_answer(answer, is_demo=True)
        return HealthJudgement(judged.accepted, judged.sentence)
    return judge_health(profile, answer, seconds)


def _prompt(model: str, profile: ChosenProfile) -> bytes:
    messages = [{"role": "user", "content": profile.health_prompt}]
    asked = {"model": model, "messages": messages, "temperature": 0, "max_tokens": LONGEST_ANSWER_TOKENS}
    return json.dumps(asked).encode()
