"""Which profile fits this machine, which is taken, and why not the rest. Pure.

A profile is recognised when one of its sets of signs holds; it fits when nothing stands in its way; of those
that fit, the one with the highest preference is taken. Each of the three says why.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.hardware.facts import Device, MachineFacts
from appliance.hardware.obstacles import model_bytes, obstacles
from appliance.hardware.profile import Profile
from appliance.hardware.signs import accelerators, recognised


@dataclass(frozen=True)
class Candidate:
    """A profile that was recognised: by what, `count` times, and what stands in its way.

    `device` is None where the machine itself is the accelerator. `model_bytes` is what a model with its cache
    may take on one of them, None where the memory is not told.
    """

    profile: Profile
    device: Device | None
    count: int
    because: tuple[str, ...]
    obstacles: tuple[str, ...]
    model_bytes: int | None

    @property
    def fits(self) -> bool:
        return not self.obstacles


@dataclass(frozen=True)
class Recognition:
    """`others` with the reason why each is not the choice; `unknown` are devices that no profile is about."""

    choice: Candidate | None
    others: tuple[tuple[Candidate, str], ...]
    unknown: tuple[Device, ...]


def recognise(facts: MachineFacts, profiles: Mapping[str, Profile]) -> Recognition:
    """The choice for this machine, with reasons for everything."""
    candidates = sorted(_candidates(facts, profiles), key=_rank, reverse=True)
    choice = next((candidate for candidate in candidates if candidate.fits), None)
    others = tuple((each, _why_not(each, choice)) for each in candidates if each is not choice)
    known = {candidate.device.pci for candidate in candidates if candidate.device}
    unknown = {device.pci: device for device in accelerators(facts) if device.pci not in known}
    return Recognition(choice, others, tuple(unknown.values()))


def _candidates(facts: MachineFacts, profiles: Mapping[str, Profile]) -> Iterator[Candidate]:
    # cards of one kind may differ in what drives them
    counts = Counter(accelerators(facts))
    subjects = [*counts, None]
    for profile in profiles.values():
        for device in subjects:
            because = recognised(profile.recognise, facts, device)
            if because is not None:
                yield Candidate(
                    profile,
                    device,
                    counts[device] if device else 1,
                    because,
                    tuple(obstacles(profile, facts, device)),
                    model_bytes(profile, facts, device),
                )


def _rank(candidate: Candidate) -> tuple[int, int, str]:
    return candidate.profile.preference, candidate.model_bytes or 0, candidate.profile.name


def _why_not(candidate: Candidate, choice: Candidate | None) -> str:
    if candidate.obstacles or choice is None:
        return " ".join(candidate.obstacles)
    if choice.profile is candidate.profile:
        less = (candidate.model_bytes or 0) < (choice.model_bytes or 0)
        return f"It is of the same kind{', with less memory' if less else ', and one kind is taken'}."
    return f"It fits, and {choice.profile.title} comes before it."
