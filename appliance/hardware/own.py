"""What this machine is, with the profiles that lie here: the shell around `recognise`."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from appliance.hardware.facts import MachineFacts
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
