"""A recognition in words, for a terminal. Pure."""

from collections.abc import Iterator

from appliance.hardware.facts import MachineFacts
from appliance.hardware.matching import Candidate, Recognition

_GIB = 2**30


def told(facts: MachineFacts, recognition: Recognition) -> str:
    """The machine, what was chosen, and why not the rest; each line ends."""
    return "".join(f"{line}\n" for line in _lines(facts, recognition))


def _lines(facts: MachineFacts, recognition: Recognition) -> Iterator[str]:
    yield (
        f"{facts.model or 'A machine'}: {facts.processor.name or facts.architecture}, "
        f"{facts.memory_bytes / _GIB:.0f} GiB, {facts.system} {facts.kernel}".rstrip()
    )
    yield ""
    if recognition.choice is None:
        yield "Nothing here can compute answers."
    else:
        yield f"Chosen: {_name(recognition.choice)}"
        yield f"  by {'; '.join(recognition.choice.because)}"
        yield from _how(recognition.choice)
    if recognition.others or recognition.unknown:
        yield ""
        yield "Not chosen:"
    for candidate, reason in recognition.others:
        yield f"  {_name(candidate)}"
        yield f"    {reason}"
    for device in recognition.unknown:
        driver = f"driver {device.driver}" if device.driver else "no driver"
        yield f"  {device.name or 'A device'} {device.pci} ({driver})"
        yield "    No profile is about it."


def _name(candidate: Candidate) -> str:
    times = f"{candidate.count} x " if candidate.count > 1 else ""
    device = f" ({candidate.device.pci})" if candidate.device else ""
    return f"{times}{candidate.profile.title}{device} [{candidate.profile.name}]"


def _how(choice: Candidate) -> Iterator[str]:
    profile = choice.profile
    room = "" if choice.model_bytes is None else f", a model of at most {choice.model_bytes / _GIB:.1f} GiB"
    limit = profile.answers.prompt_tokens
    prompt = f", prompts of at most {limit} tokens" if limit else ""
    yield f"  engine {profile.engine_name}{room}, {profile.answers.parallel} answers at once{prompt}"
    yield f"  best files: {', '.join(profile.formats)}; tried: {profile.exercised.value}"
