"""What was recognised on a machine, as it is kept and shown: its sizes are bounded.

A record comes over the network, and what is made of it must stay small whatever it says.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from appliance.hardware.matching import Candidate, Recognition
from appliance.hardware.profile import EngineName, Kind, ProfileUnusable

_SENTENCE, _MOST = 400, 24
Sentence = Annotated[str, StringConstraints(max_length=_SENTENCE)]
Name = Annotated[str, StringConstraints(max_length=80)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, allow_inf_nan=False)


class NotChosen(_Part):
    """Another profile that was recognised, or a device that no profile is about, and why it isn't taken."""

    title: Name
    reason: Sentence
    fits: bool = False
    """It could serve, and another comes before it."""


class ChosenProfile(_Part):
    """What serves models here, and how; `because` are the signs that it was recognised by."""

    profile: Name
    title: Name
    kind: Kind
    engine: EngineName
    backend: Name
    count: int = Field(default=1, ge=1, le=64)
    model_bytes: int | None = Field(default=None, ge=0)
    """What a model with its cache may take on one of them; None where the memory isn't told."""
    parallel: int = Field(ge=1, le=512)
    prompt_tokens: int = Field(default=0, ge=0)
    idle_watts: float = Field(default=0, ge=0)
    busy_watts: float = Field(default=0, ge=0)
    health_prompt: Sentence = ""
    health_expects: Sentence = ""
    health_limit_seconds: float = Field(default=120, gt=0, le=600)
    formats: tuple[Name, ...] = Field(default=(), max_length=16)
    exercised: Name = ""
    start: Sentence = ""
    """How a server that this profile adopts is started."""
    because: tuple[Sentence, ...] = Field(default=(), max_length=_MOST)


class HardwareReport(_Part):
    """`troubles` are files of profiles that can't be used, told sentence by sentence."""

    machine: Name = ""
    chosen: ChosenProfile | None = None
    others: tuple[NotChosen, ...] = Field(default=(), max_length=_MOST)
    troubles: tuple[Sentence, ...] = Field(default=(), max_length=_MOST)


def report_of(
    machine: str, recognition: Recognition, unusable: tuple[ProfileUnusable, ...] = ()
) -> HardwareReport:
    """Long texts are cut, and of very many reasons the first are kept."""
    others = [
        NotChosen(title=each.profile.title[:80], reason=reason[:_SENTENCE], fits=each.fits)
        for each, reason in recognition.others
    ]
    unknown = [
        NotChosen(
            title=(device.name or f"A device {device.pci}")[:80],
            reason=f"No profile is about {device.pci}, {device.driver or 'which has no driver'}.",
        )
        for device in recognition.unknown
    ]
    return HardwareReport(
        machine=machine[:80],
        chosen=_chosen(recognition.choice) if recognition.choice else None,
        others=tuple([*others, *unknown][:_MOST]),
        troubles=tuple(str(trouble)[:_SENTENCE] for trouble in unusable[:_MOST]),
    )


def _chosen(choice: Candidate) -> ChosenProfile:
    profile = choice.profile
    return ChosenProfile(
        profile=profile.name[:80],
        title=profile.title[:80],
        kind=profile.kind,
        engine=profile.engine.name,
        backend=profile.engine.backend[:80],
        count=min(choice.count, 64),
        model_bytes=choice.model_bytes,
        parallel=profile.answers.parallel,
        prompt_tokens=profile.answers.prompt_tokens,
        idle_watts=profile.power.idle_watts,
        busy_watts=profile.power.busy_watts,
        health_prompt=profile.health.prompt[:_SENTENCE],
        health_expects=profile.health.expects[:_SENTENCE],
        health_limit_seconds=profile.health.limit_seconds,
        formats=profile.formats[:16],
        exercised=profile.exercised.value,
        start=profile.engine.start[:_SENTENCE],
        because=tuple(sign[:_SENTENCE] for sign in choice.because[:_MOST]),
    )
