"""What machines are, with the profiles that lie here: the shell around `recognise`."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from appliance.hardware.facts import MachineFacts, read_told
from appliance.hardware.gathering import gather
from appliance.hardware.matching import recognise
from appliance.hardware.profile import Profile, ProfileUnusable, read_profiles
from appliance.hardware.report import HardwareReport, report_of
from appliance.typed_files import toml_files


def profiles_in(
    folders: Sequence[Path],
) -> tuple[Mapping[str, Profile], tuple[ProfileUnusable, ...]]:
    """As read_profiles, and the very same object until a file of them is put there, changed or taken away."""
    return _profiles(tuple(folders), _stamp(folders))


def own_hardware(folders: Sequence[Path], facts: MachineFacts | None = None) -> HardwareReport:
    """Reads this machine (seconds where a platform's tools are installed) unless `facts` are given."""
    facts = facts or gather()
    profiles, unusable = profiles_in(folders)
    return report_of(facts.model, recognise(facts, profiles), unusable)


def told_hardware(folders: Sequence[Path], told: Mapping[str, str]) -> dict[str, HardwareReport]:
    """By node, from the record that each sent; without those whose record can't be read.

    Each is recognised once, and again when its record or a file of the profiles is another: pages ask often.
    """
    stamp = _stamp(folders)
    reports = ((node, _told_report(text, tuple(folders), stamp)) for node, text in told.items())
    return {node: report for node, report in reports if report is not None}


@lru_cache(maxsize=512)
def _told_report(told: str, folders: tuple[Path, ...], stamp: int) -> HardwareReport | None:
    facts = read_told(told)
    if facts is None:
        return None
    profiles, unusable = _profiles(folders, stamp)
    return report_of(facts.model, recognise(facts, profiles), unusable)


@lru_cache(maxsize=2)
def _profiles(
    folders: tuple[Path, ...], _stamp: int
) -> tuple[Mapping[str, Profile], tuple[ProfileUnusable, ...]]:
    return read_profiles(folders)


def _stamp(folders: Sequence[Path]) -> int:
    files = (file for folder in folders for file in toml_files(folder))
    return hash(tuple((file, _changed_at(file)) for file in files))


def _changed_at(file: Path) -> int | None:
    """None for one that was taken away just now, and for a link to nowhere, which reading tells of."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
