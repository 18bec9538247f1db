"""What the product's units wrote: the journal on the image, the log files of a development box. Bounded."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from appliance.settings import Settings
from appliance.support.sources.box import as_json
from appliance.support.sources.context import Context, Part

UNITS = (
    "cellule-partition",
    "cellule-kept",
    "cellule-data",
    "cellule-prepare",
    "cellule-verdict",
    "cellule-broker",
    "cellule-core",
    "cellule-pool",
    "cellule-web",
    "cellule-engine@cellule-demo",
    "cellule-engines",
    "cellule-split-engines",
    "cellule-support",
    "cellule-console",
    "nginx",
    "rauc",
)
LINES_PER_UNIT = 5000
LOG_LIMIT_BYTES = 1024 * 1024
_TIMEOUT_SECONDS = 20
_DEVELOPMENT_NAMES = {"web": "webadmin"}
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|\[(warn|error|crit|alert|emerg)\]")


def logs(context: Context) -> Iterator[Part]:
    """One file a unit that wrote something, and how often each level of warning occurs."""
    counts: dict[str, Counter[str]] = {}
    for unit in UNITS:
        text = log_of(context.settings, unit)
        if text:
            levels = (found[1] or found[2] for found in _LEVEL.finditer(text))
            counts[unit] = Counter(level.lower() for level in levels)
            yield Part(f"logs/{unit.replace('@', '-')}.log", text)
    yield Part("logs/counts.json", as_json(counts))


def log_of(settings: Settings, unit: str, lines: int = LINES_PER_UNIT) -> str:
    """The last lines of a unit of UNITS, at most LOG_LIMIT_BYTES; "" when there are none."""
    if settings.appliance:
        return _journal(unit, lines)
    name = unit.removeprefix("cellule-").partition("@")[0]
    text = _tail(settings.state_dir / "log" / f"{_DEVELOPMENT_NAMES.get(name, name)}.log")
    return "\n".join(text.splitlines()[-lines:])


def _journal(unit: str, lines: int) -> str:
    command = ["journalctl", "--unit", unit, "--lines", str(lines), "--output", "short-iso", "--no-hostname"]
    try:
        done = subprocess.run(
            [*command, "--no-pager", "--quiet"], capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the journal could not be asked: {error}\n"
    return done.stdout[-LOG_LIMIT_BYTES:].decode(errors="replace")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_LIMIT_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
