"""The health check of a profile: a fixed prompt, what its answer must hold, and in which time. Pure.

The demo model knows the appliance and little else, so it is asked the question of every boot instead
(boot.fixed_prompt); any other text model must know a fact of everyday life.
"""

import re
from dataclasses import dataclass

from appliance.hardware.report import ChosenProfile

LONGEST_ANSWER_TOKENS = 256
"""Room for a model that thinks before it answers."""


@dataclass(frozen=True)
class HealthJudgement:
    ok: bool
    sentence: str


def judge_health(profile: ChosenProfile, answer: str, seconds: float) -> HealthJudgement:
    """Whether `answer`, which took `seconds`, is what the profile expects of a model that is well."""
    if seconds > profile.health_limit_seconds:
        return HealthJudgement(
            False,
            f"The answer took {seconds:.0f} s; the profile allows {profile.health_limit_seconds:.0f} s.",
        )
    expected = profile.health_expects.casefold()
    words = re.findall(r"\w+", answer.casefold())
    if not words:
        return HealthJudgement(False, "The answer was empty.")
    if expected and expected not in " ".join(words):
        return HealthJudgement(
            False, f"Asked {profile.health_prompt!r}, it answered {answer.strip()[:120]!r}."
        )
    return HealthJudgement(True, f"It answered as expected in {seconds:.1f} s.")
