"""Whether what a model is called agrees with what its server shows of it: size and family. Pure.

Only a contradiction counts. What a name doesn't say, or a server doesn't show, is no reason.
"""

import re

from appliance.engines.adopted.recognising import Claim

_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s?([bm])(?![A-Za-z0-9])", re.IGNORECASE)
_EXPERTS = re.compile(r"(?<![A-Za-z0-9.])(\d+)x(\d+(?:\.\d+)?)b(?![A-Za-z0-9])", re.IGNORECASE)
LEAST_SHARE, MOST_SHARE = 0.6, 1.6
"""A model called 8B has 7.2 to 9.2 thousand million weights; experts and embeddings are counted variously."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "qwen": ("qwen",),
    "llama": ("llama", "mllama"),
    # its files name llama as their architecture
    "mistral": ("mistral", "llama"),
    "mixtral": ("mixtral", "llama", "mistral"),
    "gemma": ("gemma",),
    "phi": ("phi", "llama"),
    "gpt-oss": ("gptoss", "gpt-oss", "gpt_oss"),
    "granite": ("granite",),
    # its distilled models are Qwen or Llama
    "deepseek": ("deepseek", "qwen", "llama"),
    "smollm": ("smollm", "llama"),
    "bge": ("bert", "xlm"),
    "nomic": ("nomic",),
}
"""A family's name in a model's name → how the architecture that a server shows may begin."""


def contradictions(name: str, claim: Claim) -> tuple[str, ...]:
    """Sentences; `name` is what the model is said to be, `claim` what its server shows."""
    reasons = []
    sizes = sizes_named(name)
    if sizes and claim.parameters and not any(_is_near(claim.parameters, size) for size in sizes):
        reasons.append(
            f"It is called {name}, and its server shows {_in_words(claim.parameters)} weights: "
            "that is another model."
        )
    family = family_named(name)
    shown = claim.family.casefold()
    known = any(shown.startswith(start) for starts in FAMILIES.values() for start in starts)
    if family and shown and known and not shown.startswith(FAMILIES[family]):
        reasons.append(
            f"It is called {name}, and its server shows the family {claim.family}: that is another model."
        )
    if claim.origin and not reasons:
        reasons += _contradictions_of_origin(name, claim.origin)
    return tuple(reasons)


def _contradictions_of_origin(name: str, origin: str) -> list[str]:
    """`origin`: the repository or file that the server says it has loaded."""
    named, loaded = sizes_named(name), sizes_named(origin)
    if named and loaded and not any(_is_near(one, other) for one in loaded for other in named):
        return [f"It is called {name}, and its server has loaded {origin}: that is another model."]
    family, other = family_named(name), family_named(origin)
    if family and other and not _may_be(family, other):
        return [f"It is called {name}, and its server has loaded {origin}: that is another model."]
    return []


def sizes_named(name: str) -> tuple[float, ...]:
    """How many weights a name says: "qwen3-30b-a3b" 30e9; the active ones (a3b) don't count."""
    plain = name.replace("_", "-")
    experts = [float(count) * float(size) * 1e9 for count, size in _EXPERTS.findall(plain)]
    sizes = [float(size) * {"b": 1e9, "m": 1e6}[unit.lower()] for size, unit in _SIZE.findall(plain)]
    return (*experts, *sizes)


def family_named(name: str) -> str:
    """The first of FAMILIES in a name; "" for none."""
    lower = name.casefold().replace("_", "-")
    found = [(lower.find(family), family) for family in FAMILIES if family in lower]
    return min(found)[1] if found else ""


def _may_be(family: str, other: str) -> bool:
    # "deepseek-r1-distill-qwen" and "qwen" are told by the first name alone, so either may stand for both
    one, two = FAMILIES[family], FAMILIES[other]
    return family == other or bool({*one} & {*two})


def _is_near(shown: float, named: float) -> bool:
    return LEAST_SHARE <= shown / named <= MOST_SHARE


def _in_words(number: float) -> str:
    return f"{number / 1e9:.1f} thousand million" if number >= 1e9 else f"{number / 1e6:.1f} million"
