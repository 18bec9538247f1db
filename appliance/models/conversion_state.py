"""A conversion's progress as a file, for whoever shows it: written whole at each change."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from appliance.clock import now
from appliance.models.conversion_progress import Progress, Step


class ConversionState(BaseModel):
    """As the file holds it. `at` is epoch seconds."""

    model_config = ConfigDict(frozen=True)

    step: Step
    percent: int
    sentence: str
    at: float
    process: int
    """A process that is gone while the step is not done, failed or cancelled died at its work."""


def write_state(file: Path, progress: Progress) -> None:
    state = ConversionState(
        step=progress.step,
        percent=progress.percent,
        sentence=progress.sentence,
        at=now(),
        process=os.getpid(),
    )
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.write_text(state.model_dump_json())
    unfinished.replace(file)
