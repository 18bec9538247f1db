"""Releases: found, installed, running; never one word for all three.

A channel, a stick or a file is verified (`trust`) → `found` → judged with reasons (`deciding`) → ordered
(`installs`) → followed through installer, restart and verdict (`moving`, `following`). The core does the work
(`looking`, `offline`, `following`); pages read what it recorded and order. The vendor's side is `publish`.
"""

from appliance.updating.archive import LARGEST_ARCHIVE_BYTES
from appliance.updating.choice import UpdateChoice, outbound_of
from appliance.updating.deciding import Facts, Judgement, Reason, Why, judge
from appliance.updating.found import ChannelState, Found, channel_state, found_releases, look_soon
from appliance.updating.installs import (
    Install,
    InstallUnderWay,
    NothingToRestartInto,
    Progress,
    Stage,
    list_installs,
    order_install,
    progress_of,
    restart_soon,
    seconds_left,
    unfinished_install,
)
from appliance.updating.moving import Box
from appliance.updating.offline_checks import (
    Check,
    CheckState,
    CheckUnderWay,
    NoRoom,
    ask_check,
    check_room,
    incoming_dir,
    newest_check,
)
from appliance.updating.release import Origin, Release
from appliance.updating.states import Candidate, ReleaseStates, Running, release_states
from appliance.updating.this_box import gather_facts, read_box
from appliance.updating.window import Weekday, Window, is_open, opens_at

__all__ = [
    "LARGEST_ARCHIVE_BYTES",
    "Box",
    "Candidate",
    "ChannelState",
    "Check",
    "CheckState",
    "CheckUnderWay",
    "Facts",
    "Found",
    "Install",
    "InstallUnderWay",
    "Judgement",
    "NoRoom",
    "NothingToRestartInto",
    "Origin",
    "Progress",
    "Reason",
    "Release",
    "ReleaseStates",
    "Running",
    "Stage",
    "UpdateChoice",
    "Weekday",
    "Why",
    "Window",
    "ask_check",
    "channel_state",
    "check_room",
    "found_releases",
    "gather_facts",
    "incoming_dir",
    "is_open",
    "judge",
    "list_installs",
    "look_soon",
    "newest_check",
    "opens_at",
    "order_install",
    "outbound_of",
    "progress_of",
    "read_box",
    "release_states",
    "restart_soon",
    "seconds_left",
    "unfinished_install",
]
