"""Are the files of a model still those that were taken in? An admin asks, the core reads, the page tells.

One record a model, in activity.db: the last check that was asked for. Reading tens of gigabytes takes
minutes, so it is the core's work, and how far it is stands in the record.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from appliance.clock import Clock, now
from appliance.errors import Refusal, Refused
from appliance.models.demo import verify_demo_model
from appliance.models.held import HeldModel, ModelUnknown, held_model
from appliance.models.store import Store
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule

_TELL_EVERY_BYTES = 64 * 2**20
_COLUMNS = "model, digest, asked_at, ended_at, size_bytes, done_bytes, ok, sentence"


class ModelCheckUnderWay(Refused):
    """The model is being read already."""

    code = "model_check_under_way"
    http_status = 409


@dataclass(frozen=True)
class ModelCheck:
    """Times are epoch seconds. `ok` and `sentence`, what is wrong, count once `ended_at` is there."""

    model: str
    digest: str
    asked_at: float
    ended_at: float | None
    size_bytes: int
    done_bytes: int
    ok: bool
    sentence: str

    @property
    def is_under_way(self) -> bool:
        return self.ended_at is None

    @property
    def share(self) -> float:
        return min(1.0, self.done_bytes / self.size_bytes) if self.size_bytes else 0.0

    def found_damage(self, model: HeldModel) -> bool:
        """A check of other files that had the name before says nothing."""
        return self.ended_at is not None and not self.ok and self.digest == model.digest


def ask_check(db: Database, activity: Database, name: str, *, at: float) -> HeldModel:
    """The core begins within seconds. Raises ModelUnknown, ModelCheckUnderWay."""
    model = held_model(db, name)
    if (last := model_checks(activity).get(model.name)) and last.is_under_way:
        raise ModelCheckUnderWay(
            f"{model.name} is being checked already.", next_step="Wait until it has ended."
        )
    activity.execute(
        """INSERT INTO model_checks (model, digest, asked_at, size_bytes) VALUES (?, ?, ?, ?)
        ON CONFLICT (model) DO UPDATE SET digest = excluded.digest, asked_at = excluded.asked_at,
            size_bytes = excluded.size_bytes, ended_at = NULL, done_bytes = 0, ok = 0, sentence = ''""",
        [model.name, model.digest, at, model.bundle.size_bytes],
    )
    return model


def model_checks(activity: Database) -> dict[str, ModelCheck]:
    """The last one of each model."""
    rows = activity.execute(f"SELECT {_COLUMNS} FROM model_checks")  # noqa: S608 our own columns
    return {
        name: ModelCheck(name, digest, asked, ended, size, done, bool(ok), sentence)
        for name, digest, asked, ended, size, done, ok, sentence in rows
    }


def follow_checks(settings: Settings, *, clock: Clock = now) -> str:
    """Does the oldest check that waits; a sentence about it, "" for nothing. Cut off, it begins anew."""
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        waiting = sorted(
            (c for c in model_checks(activity).values() if c.is_under_way), key=lambda c: c.asked_at
        )
        if not waiting:
            return ""
        name, ok, sentence = waiting[0].model, True, ""
        try:
            _read(settings, activity, held_model(db, name))
        except ModelUnknown:
            activity.execute("DELETE FROM model_checks WHERE model = ?", [name])
            return ""
        except Refusal as refusal:
            ok, sentence = False, str(refusal)
        except OSError as error:
            ok, sentence = False, f"The disk gave an error: {error.strerror or error}."
        activity.execute(
            """UPDATE model_checks SET ended_at = ?, ok = ?, sentence = ?, done_bytes = size_bytes
            WHERE model = ?""",
            [clock(), ok, sentence, name],
        )
    return f"{name}: {sentence or 'all files are as they were taken in'}"


def _read(settings: Settings, activity: Database, model: HeldModel) -> None:
    if model.ships:
        verify_demo_model()
        return
    done, told = 0, 0

    def count(read_bytes: int) -> None:
        nonlocal done, told
        done += read_bytes
        if done - told >= _TELL_EVERY_BYTES:
            told = done
            activity.execute("UPDATE model_checks SET done_bytes = ? WHERE model = ?", [done, model.name])

    Store(settings.state_dir).verify(model.bundle, count)
