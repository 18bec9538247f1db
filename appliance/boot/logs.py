"""The log lines around a step: from the journal on the image, from the log files of a development box.

Nothing secret is in them, for no process writes prompts, keys or codes to its log.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.settings import Settings

LINES = 40
_LONGEST_LINE_CHARACTERS = 300
_TIMEOUT_SECONDS = 10


def log_around(settings: Settings, units: Sequence[str]) -> str:
    """The last lines that the services of these units wrote in this boot; "" when there are none."""
    if settings.appliance:
        return journal([argument for unit in units for argument in ("--unit", unit)])
    return "\n".join(filter(None, (_tail(settings.state_dir / "log", unit) for unit in units)))


def log_of_boot(settings: Settings, boot_id: str) -> str:
    """The last lines of an earlier boot, for one that ended without a word."""
    return journal(["--boot", boot_id]) if settings.appliance else ""


def journal(arguments: list[str]) -> str:
    """The last LINES lines that match; "" when the journal can't be asked."""
    which = arguments if "--boot" in arguments else ["--boot", *arguments]
    command = ["journalctl", *which, "--lines", str(LINES), "--output", "short", "--no-pager", "--quiet"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return bounded(done.stdout) if done.returncode == 0 else ""


def bounded(text: str) -> str:
    """The last LINES lines, each cut to a length that fits a page."""
    return "\n".join(line[:_LONGEST_LINE_CHARACTERS] for line in text.splitlines()[-LINES:])


def _tail(folder: Path, unit: str) -> str:
    """A development box logs to <name>.log, where the image has cellule-<name>.service."""
    name = unit.removeprefix("cellule-").partition(".")[0].partition("@")[0]
    name = "webadmin" if name == "web" else name
    try:
        return bounded((folder / f"{name}.log").read_text(errors="replace"))
    except OSError:
        return ""
