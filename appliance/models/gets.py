"""Models that admins asked for, and how far each is: in activity.db, for pages to follow across restarts.

receiving → waiting → fetching → checking → done; or refused, or cancelled. One for each name.
Safetensors are converted once they are checked, one model at a time, and what comes of it is checked again.
A get whose way is cut waits and goes on where it was; only what is wrong ends it.
"""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from time import monotonic
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from sqlite_utils import Database

from appliance.errors import Refusal, Refused
from appliance.models.bundle import MOST_FILES, InnerPath, Sha256
from appliance.models.conversion_progress import Progress
from appliance.models.conversion_source import Weights
from appliance.models.entry import FilePattern, Repository
from appliance.models.held import ModelNameTaken

_REPORT_STEP_BYTES = 16 * 2**20
_REPORT_SECONDS = 1.0
"""A slow medium takes minutes for a step, and who cancels waits for none of it."""
_COLUMNS = """id, name, "order", state, size_bytes, done_bytes, cancelled, attempts, next_try_at, asked_by,
    asked_at, ended_at, code, sentence"""


class GetUnknown(Refused):
    """No such get, or it has ended."""

    code = "model_get_unknown"
    http_status = 404


class GetCancelled(Exception):
    """An admin doesn't want it any more."""


class GetState(StrEnum):
    """Where a get is."""

    RECEIVING = "receiving"
    """An upload that still comes."""
    WAITING = "waiting"
    FETCHING = "fetching"
    CHECKING = "checking"
    CONVERTING = "converting"
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in {GetState.DONE, GetState.REFUSED, GetState.CANCELLED}


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    entry: str = ""
    """Of the catalogue, "" where the model is none of it."""
    licence_accepted: bool = False
    even_if_too_large: bool = False
    """An admin was told that no node has the memory for it."""
    weights: Weights = Weights.INT8
    """How a converted model keeps them; without meaning for one that runs as it is."""


class HubOrder(_Order):
    """Files of a repository of the hub, or of its mirror."""

    origin: Literal["hub"] = "hub"
    repository: Repository
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = "main"
    files: tuple[FilePattern, ...] = Field(min_length=1, max_length=MOST_FILES)


class CarriedOrder(_Order):
    """A file or folder on a USB stick, or in the folder of the NAS."""

    origin: Literal["stick", "nas"]
    path: InnerPath


class UploadFile(BaseModel):
    """One file that a browser sends; `sha256` where the sender knows it."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    path: InnerPath
    size_bytes: int = Field(ge=1)
    sha256: Sha256 | None = None


class UploadOrder(_Order):
    """Files that come in chunks."""

    origin: Literal["upload"] = "upload"
    files: tuple[UploadFile, ...] = Field(min_length=1, max_length=MOST_FILES)

    @model_validator(mode="after")
    def _lie_beside_each_other(self) -> Self:
        paths = [PurePosixPath(file.path) for file in self.files]
        if len({*paths}) < len(paths) or any({*path.parents} & {*paths} for path in paths):
            raise ValueError("has a file twice, or one in place of a folder")
        return self


Order = Annotated[HubOrder | CarriedOrder | UploadOrder, Field(discriminator="origin")]
_ORDER: TypeAdapter[Order] = TypeAdapter(Order, config=ConfigDict(defer_build=True))


@dataclass(frozen=True)
class Get:
    """Times are epoch seconds. `attempts`: in a row that brought nothing more.

    `code`, `sentence`: why it was refused, or why it waits to try again.
    """

    id: int
    name: str
    order: HubOrder | CarriedOrder | UploadOrder
    state: GetState
    size_bytes: int
    done_bytes: int
    cancelled: bool
    """An admin does not want it any more; or, once it is refused, has read why."""
    attempts: int
    next_try_at: float
    asked_by: str | None
    asked_at: float
    ended_at: float | None
    code: str
    sentence: str

    @property
    def incoming_name(self) -> str:
        """Of its folder in `incoming`."""
        return f"get-{self.id}"

    @property
    def percent(self) -> int:
        """Of the step that it is at."""
        return min(100, 100 * self.done_bytes // self.size_bytes) if self.size_bytes else 0


def insert_get(
    activity: Database, name: str, order: Order, *, by: str | None, at: float, size_bytes: int = 0
) -> Get:
    """Raises ModelNameTaken while another one of that name is under way."""
    state = GetState.RECEIVING if isinstance(order, UploadOrder) else GetState.WAITING
    try:
        number = activity.execute(
            """INSERT INTO model_gets (name, "order", state, size_bytes, asked_by, asked_at)
            VALUES (?, ?, ?, ?, ?, ?)""",
            [name, order.model_dump_json(), state.value, size_bytes, by, at],
        ).lastrowid
    except sqlite3.IntegrityError as error:
        raise ModelNameTaken(f"A model {name!r} is on its way already.", next_step="Wait for it.") from error
    return read_get(activity, number or 0)


def list_gets(activity: Database, *, limit: int = 50) -> list[Get]:
    """The newest first."""
    rows = activity.execute(f"SELECT {_COLUMNS} FROM model_gets ORDER BY id DESC LIMIT ?", [limit])  # noqa: S608
    return [_get(row) for row in rows]


def unfinished_gets(activity: Database) -> list[Get]:
    """Those that have not ended, the oldest first."""
    rows = activity.execute(f"SELECT {_COLUMNS} FROM model_gets WHERE ended_at IS NULL ORDER BY id")  # noqa: S608
    return [_get(row) for row in rows]


def read_get(activity: Database, get_id: int) -> Get:
    """Raises GetUnknown."""
    row = activity.execute(f"SELECT {_COLUMNS} FROM model_gets WHERE id = ?", [get_id]).fetchone()  # noqa: S608
    if row is None:
        raise GetUnknown("There is no such get.", next_step="Reload the list.")
    return _get(row)


def ask_cancel(activity: Database, get_id: int) -> None:
    """The core ends it within a second. Raises GetUnknown when it has ended."""
    changed = activity.execute(
        "UPDATE model_gets SET cancelled = 1 WHERE id = ? AND ended_at IS NULL", [get_id]
    ).rowcount
    if not changed:
        raise GetUnknown("This get has ended already.", next_step="Reload the list.")


def dismiss_refused(activity: Database, get_id: int) -> None:
    """An admin has read why, and pages tell it no more. Raises GetUnknown."""
    changed = activity.execute(
        "UPDATE model_gets SET cancelled = 1 WHERE id = ? AND state = ?", [get_id, GetState.REFUSED.value]
    ).rowcount
    if not changed:
        raise GetUnknown("There is no such refused get.", next_step="Reload the list.")


def is_cancelled(activity: Database, get: Get) -> bool:
    row = activity.execute("SELECT cancelled FROM model_gets WHERE id = ?", [get.id]).fetchone()
    return row is None or bool(row[0])


def move_get(activity: Database, get: Get, to: GetState) -> None:
    """To the next step, whose progress begins at 0."""
    activity.execute(
        "UPDATE model_gets SET state = ?, done_bytes = 0, code = '', sentence = '' WHERE id = ?",
        [to.value, get.id],
    )


def measure_get(activity: Database, get: Get, done_bytes: int, size_bytes: int | None = None) -> None:
    """How far it is."""
    activity.execute(
        "UPDATE model_gets SET done_bytes = ?, size_bytes = coalesce(?, size_bytes) WHERE id = ?",
        [done_bytes, size_bytes, get.id],
    )


def measure_conversion(activity: Database, get: Get, progress: Progress) -> None:
    """How far the converter is: done and all are percents, the sentence says at what it is."""
    activity.execute(
        "UPDATE model_gets SET done_bytes = ?, size_bytes = 100, sentence = ? WHERE id = ?",
        [progress.percent, progress.sentence, get.id],
    )


def put_off_get(activity: Database, get: Get, refusal: Refusal, *, until: float) -> None:
    """It is tried again; what came stays."""
    activity.execute(
        """UPDATE model_gets SET state = ?, attempts = ?, next_try_at = ?, code = ?, sentence = ?
        WHERE id = ?""",
        [GetState.WAITING.value, get.attempts + 1, until, refusal.code, refusal.sentence, get.id],
    )


def end_get(
    activity: Database, get: Get, state: GetState, *, at: float, code: str = "", sentence: str = ""
) -> None:
    """DONE, REFUSED with why, or CANCELLED."""
    activity.execute(
        "UPDATE model_gets SET state = ?, ended_at = ?, code = ?, sentence = ? WHERE id = ?",
        [state.value, at, code, sentence, get.id],
    )


class Meter:
    """Counts the bytes of one step and tells them now and then; GetCancelled once an admin says so."""

    def __init__(self, activity: Database, get: Get) -> None:
        self._activity, self._get = activity, get
        self.done_bytes, self._told = 0, 0
        self._told_at = monotonic()

    def add(self, count: int) -> None:
        self.set(self.done_bytes + count)

    def set(self, done_bytes: int) -> None:
        self.done_bytes = done_bytes
        is_far = abs(done_bytes - self._told) >= _REPORT_STEP_BYTES
        if is_far or monotonic() - self._told_at >= _REPORT_SECONDS:
            self._told, self._told_at = done_bytes, monotonic()
            measure_get(self._activity, self._get, done_bytes)
            self.check()

    def check(self) -> None:
        """Raises GetCancelled."""
        if is_cancelled(self._activity, self._get):
            raise GetCancelled


def _get(row: tuple[Any, ...]) -> Get:
    number, name, order, state, size, done, cancelled, *rest = row
    return Get(number, name, _ORDER.validate_json(order), GetState(state), size, done, bool(cancelled), *rest)
