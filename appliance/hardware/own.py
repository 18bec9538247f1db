"""What this machine is, with the profiles that lie here: the shell around `recognise`."""

from collections.abc import Sequence
from pathlib import Path

from appliance.hardware.facts import MachineFacts
from appliance.hardware.gathering import gather
from appliance.hardware.matching import recognise
from appliance.hardware.profile import read_profiles
from appliance.hardware.report import HardwareReport, report_of


def own_hardware(folders: Sequence[Path], facts: MachineFacts | None = None) -> HardwareReport:
    """Reads this machine (seconds where a platform's tools are installed) unless `facts` are given."""
    facts = facts or gather()
    profiles, unusable = read_profiles(folders)
    return report_of(facts.model, recognise(facts, profiles), unusable)
