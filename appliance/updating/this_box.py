"""What the rules must know of this box: its id in the waves, the kind of bundle it takes, whom it trusts,
its slots.
"""

import configparser
import uuid
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlite_utils import Database

from appliance.boot import refused_releases
from appliance.errors import Refused
from appliance.host import Host, Unsupported
from appliance.private_file import write_once
from appliance.settings import Settings
from appliance.storage import read_choice
from appliance.updating.choice import UpdateChoice
from appliance.updating.deciding import Facts, Failures
from appliance.updating.installs import Install, Stage, list_installs
from appliance.updating.moving import Box

CHANNEL_ROOT = Path("/usr/lib/cellule/channel/root.json")
"""In the image: the root metadata that the trust begins with."""
_INSTALLER_CONFIGURATION = Path("/etc/rauc/system.conf")


class NoChannelKey(Refused):
    """The image holds no root metadata, so no channel can be verified."""

    code = "no_channel_key"


def updates_dir(settings: Settings) -> Path:
    """Verified metadata, uploads, and what was unpacked from them."""
    return settings.state_dir / "updates"


def channel_root(settings: Settings) -> bytes:
    """The first root metadata. Raises NoChannelKey where there is none."""
    path = CHANNEL_ROOT if settings.appliance else updates_dir(settings) / "root.json"
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NoChannelKey(
            "This box has no key to verify releases with.",
            next_step=f"Put the root.json of a channel at {path}.",
        ) from error


def box_id(settings: Settings) -> str:
    """A random name that nobody else is told; made at the first call."""
    return write_once(settings.secrets_dir / "box-id", uuid.uuid4().hex.encode()).decode()


def read_box(host: Host) -> Box | None:
    """None on a machine that is no appliance: it has no slots."""
    try:
        status = host.machine_status()
        return Box(status.version, host.slots(), status.booted_at)
    except Unsupported:
        return None


def gather_facts(settings: Settings, db: Database, box: Box, timezone: str, *, at: float) -> Facts:
    """Everything that the decision needs, as of `at`."""
    installs = list_installs(db)
    newest = installs[0] if installs else None
    return Facts(
        at=at,
        running=box.running,
        compatible=_compatible(settings),
        waiting=newest.version if newest and newest.stage in {Stage.INSTALLED, Stage.RESTARTING} else "",
        is_under_way=bool(newest and newest.stage.is_under_way),
        is_on_trial=box.is_on_trial,
        refused=refused_versions(db, installs),
        failures=_failures(installs),
        choice=read_choice(db, UpdateChoice),
        zone=zone_of(timezone),
        box_id=box_id(settings),
    )


def refused_versions(db: Database, installs: list[Install]) -> frozenset[str]:
    """Those that this box tried and went back from."""
    told = {refused.version for refused in refused_releases(db)}
    return frozenset(told | {install.version for install in installs if install.stage is Stage.ROLLED_BACK})


def zone_of(name: str) -> ZoneInfo:
    """UTC where the machine does not know the zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _failures(installs: list[Install]) -> dict[str, Failures]:
    failed: dict[str, Failures] = {}
    for install in installs:  # the newest first
        if install.stage is Stage.FAILED:
            known = failed.get(install.version)
            last_at = known.last_at if known else install.stage_at
            failed[install.version] = Failures((known.count if known else 0) + 1, last_at)
    return failed


def _compatible(settings: Settings) -> str | None:
    if not settings.appliance:
        return None
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.read(_INSTALLER_CONFIGURATION)
    return parsed.get("system", "compatible", fallback=None)
