"""How each job of the core ended last, in a file for whoever asks: support, and the pages."""

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from appliance.private_file import replace
from appliance.settings import Settings

log = logging.getLogger(__name__)


class JobState(BaseModel):
    """The last run. `said` is its sentence, or the error's kind when it `failed`. Times are epoch seconds."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    began_at: float
    seconds: float
    failed: bool
    said: str = ""


_STATES: TypeAdapter[dict[str, JobState]] = TypeAdapter(dict[str, JobState])


def read_job_states(settings: Settings) -> dict[str, JobState]:
    """By name of the job; empty before the core's first turn."""
    try:
        return _STATES.validate_json(_path(settings).read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}


def write_job_states(settings: Settings, states: dict[str, JobState]) -> None:
    """Replaces what was told. A disk that can't be written stops no job."""
    try:
        replace(_path(settings), _STATES.dump_json(states))
    except OSError as error:
        log.warning("the states of jobs could not be written: %s", error)


def _path(settings: Settings) -> Path:
    return settings.run_dir / "jobs.json"
