"""What a boot must prove before it counts as good: a table, each check standing on those before it.

Each check is asked again until it is fulfilled, says that asking again is of no use, or its time is up.
"""

import http.client
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from appliance.boot.accelerator import (
    AcceleratorFacts,
    Served,
    accelerator_as_expected,
    accelerator_kept,
)
from appliance.boot.asking import ask
from appliance.boot.engine_builds import engine_builds
from appliance.boot.failure import CheckFailed
from appliance.boot.fixed_prompt import judge_answer, request_body
from appliance.boot.places import Places, running_now
from appliance.boot.storage_check import check_storage
from appliance.errors import Refusal
from appliance.hardware import HardwareReport, own_hardware, profile_folders
from appliance.hardware.gathering import read_processor
from appliance.host import brokered
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.settings import Settings

ANSWER_SECONDS = 60.0
_NO_ANSWER = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Box:
    """What the checks look at."""

    settings: Settings
    places: Places


@dataclass(frozen=True)
class Check:
    """`run` returns a sentence or raises CheckFailed; `units` wrote the log that explains a failure."""

    name: str
    proves: str
    run: Callable[[Box], str]
    limit_seconds: float
    units: tuple[str, ...]


def check_data(box: Box) -> str:
    folder = box.places.data
    if box.places.is_mounted_separately and not folder.is_mount():
        raise CheckFailed(
            f"The data partition is not mounted. {_trouble_with_data()}".strip(),
            next_step="Restart the box; where that does not help, the disk or its key is the trouble.",
        )
    room = os.statvfs(folder)
    free_mib = room.f_bavail * room.f_frsize // 2**20
    encrypted = "encrypted" if _is_encrypted(folder) else "not encrypted"
    return f"Data mounted, {encrypted}, {free_mib} MiB free."


def check_broker(box: Box) -> str:
    interface = box.settings.wireguard_interface
    try:
        status = brokered(box.settings).tunnel_status(interface)
    except Refusal as refusal:
        raise CheckFailed(f"The host broker does not answer: {refusal.sentence}") from refusal
    return f"The host broker answers: {interface} is {'up' if status.is_up else 'not up yet'}."


def check_pool(box: Box) -> str:
    _expect("The pool", box.settings.listen_socket or box.settings.base_url, "/health/live", {200})
    return "The pool answers."


def check_web(box: Box) -> str:
    # an unclaimed box sends everybody to the claim page
    _expect("The web admin", box.settings.web_socket, "/sign-in", {200, 303})
    return "The web admin answers."


def check_front(box: Box) -> str:
    socket = box.settings.front_socket
    if socket is None:
        return "The pool is its own front."
    _expect("The front", socket, "/health/live", {200}, tls=True)
    return "The front answers by TLS."


def check_accelerator(box: Box) -> str:
    hardware = own_hardware(profile_folders(box.settings))
    version = running_now(box.settings).version
    processor = accelerator_as_expected(_accelerator_facts())
    if not processor.as_expected:
        raise CheckFailed(processor.sentence, is_final=True)
    kept = accelerator_kept(_served_before(box.places.accelerator), hardware, version)
    if not kept.as_expected:
        raise CheckFailed(kept.sentence)  # its driver may bind a moment later
    _note_accelerator(box.places.accelerator_now, hardware, version)
    return f"{processor.sentence} {kept.sentence}"


def check_answer(box: Box) -> str:
    socket, model, is_demo = _ready_engine(box.settings)
    try:
        status, body = ask(
            socket, "/v1/chat/completions", body=request_body(model), timeout_seconds=ANSWER_SECONDS
        )
    except _NO_ANSWER as error:
        raise CheckFailed(f"The engine of {model} broke off its answer: {error}.") from error
    if status != 200:
        raise CheckFailed(f"The engine of {model} refused the fixed question with status {status}.")
    text = str(json.loads(body)["choices"][0]["message"]["content"])
    judgement = judge_answer(text, is_demo=is_demo)
    if not judgement.accepted:
        raise CheckFailed(judgement.sentence)
    return f"{model}: {judgement.sentence}"


DATA_UNITS = ("cellule-partition.service", "data.mount", "cellule-kept.service", "cellule-data.service")

CHECKS = (
    Check("data-partition", "what is kept is there", check_data, 5, DATA_UNITS),
    Check(
        "storage",
        "accounts, keys and conversations can be read and written by this version",
        lambda box: check_storage(box.settings.state_dir),
        40,
        ("cellule-prepare.service",),
    ),
    Check("broker", "the machine can be configured", check_broker, 30, ("cellule-broker.service",)),
    Check("pool", "requests are taken", check_pool, 60, ("cellule-pool.service",)),
    Check("webadmin", "the pages are served", check_web, 60, ("cellule-web.service", "cellule-pool.service")),
    Check(
        "front",
        "people reach the box by TLS",
        check_front,
        60,
        ("nginx.service", "cellule-prepare.service"),
    ),
    Check("accelerator", "the engine can run here, on what it ran on before", check_accelerator, 20, ()),
    Check(
        "answer",
        "a question is answered on this hardware",
        check_answer,
        120,
        (f"cellule-engine@{DEMO_MODEL_NAME}.service",),
    ),
)
MOST_SECONDS = sum(check.limit_seconds for check in CHECKS)
"""The verdict is spoken within this; cellule-verdict.service allows somewhat more."""


def _expect(who: str, where: Path | str, path: str, statuses: set[int], *, tls: bool = False) -> None:
    try:
        status, _ = ask(where, path, tls=tls)
    except _NO_ANSWER as error:
        raise CheckFailed(f"{who} does not answer: {error}.") from error
    if status not in statuses:
        raise CheckFailed(f"{who} answers {path} with status {status}.")


def _ready_engine(settings: Settings) -> tuple[Path, str, bool]:
    """Socket, model and whether it is the demo, of a ready engine; the demo's first: its answer is known."""
    said: list[tuple[bool, str, Path]] = []
    for socket in settings.engine_sockets():
        try:
            _, body = ask(socket, "/health/ready")
            health = json.loads(body)
        except (*_NO_ANSWER, ValueError):
            continue
        if health.get("ready"):
            said.append((not health.get("demo"), str(health["model"]), socket))
    if not said:
        raise CheckFailed("No engine is ready on this box.")
    not_demo, model, socket = min(said)
    return socket, model, not not_demo


def _accelerator_facts() -> AcceleratorFacts:
    return AcceleratorFacts(platform.machine(), read_processor().flags, engine_builds())


def _served_before(record: Path) -> Served | None:
    try:
        return Served.model_validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return None  # the first boot, or a release that wrote otherwise


def _note_accelerator(record: Path, hardware: HardwareReport, version: str) -> None:
    """Kept for the next boot once this one is good (speaking)."""
    assert hardware.chosen
    record.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    record.write_text(Served(version=version, profile=hardware.chosen).model_dump_json())


def _trouble_with_data() -> str:
    """Why, as cellule-partition.service or cellule-data-trouble.service left it."""
    try:
        return Path("/run/cellule-data/trouble").read_text().strip()
    except OSError:
        return ""


def _is_encrypted(folder: Path) -> bool:
    """Whether the file system stands on a LUKS device: its device-mapper uuid says so."""
    device = folder.stat().st_dev
    uuid = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/dm/uuid")
    try:
        return uuid.read_text().startswith("CRYPT-LUKS")
    except OSError:
        return False
