"""Questions that the demo model must not answer: any topic, invented words, near misses, gibberish.

All of them get one refusal, which says what the model is and how to get a real one. Near misses
("how do I reset the volcano?") matter most: they teach that a familiar frame is not a familiar question.
"""

import random
import tomllib
from functools import cache

from appliance.models.demo.corpus.copying import INVENTED_WORD, invented_word
from appliance.models.demo.corpus.intents import FOLDER, Language, patterns, shared_lists
from appliance.models.demo.corpus.patterns import Pattern

PLACEHOLDERS = {"~": INVENTED_WORD, "#": "[0-9]+"}
"""For Pattern.regex: what `filled` puts in the place of each."""


def refusal(language: Language) -> str:
    """The one answer to everything out of scope."""
    return shared_lists(language)["refusal"]


def out_of_scope_question(language: Language, rng: random.Random) -> str:
    """A wording without final punctuation."""
    if rng.random() < 0.06:
        return _gibberish(language, rng)
    if rng.random() < 0.1:
        subject = rng.choice(
            ("@oos_topic", "@oos_noun", "(a|the|le|la) @oos_noun", "@oos_adjective @oos_noun")
        )
        carrier = Pattern("@carrier", shared_lists(language)).sample(rng)
        return carrier.replace("^", Pattern(subject, shared_lists(language)).sample(rng))
    return filled(rng.choice(out_of_scope_patterns(language)).sample(rng), rng)


def filled(wording: str, rng: random.Random) -> str:
    """`wording` with its placeholders replaced: ~ by invented words, # by numbers."""
    while "~" in wording:
        wording = wording.replace("~", invented_word(rng), 1)
    while "#" in wording:
        wording = wording.replace("#", str(rng.randrange(2, 10 ** rng.randint(1, 4))), 1)
    return wording


def _gibberish(language: Language, rng: random.Random) -> str:
    length = rng.choice((1, 1, 2, 3, 4, 6, 9))
    if rng.random() < 0.3:
        return " ".join(
            "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(length)
        )
    words = shared_lists(language)["oos_noun"].split("|") + shared_lists(language)["oos_adjective"].split("|")
    return " ".join(rng.choice(words) if rng.random() < 0.5 else invented_word(rng) for _ in range(length))


@cache
def out_of_scope_patterns(language: Language) -> tuple[Pattern, ...]:
    """The patterns of out_of_scope.toml; their placeholders are still to be filled."""
    lines = tomllib.loads((FOLDER / "out_of_scope.toml").read_text(encoding="utf-8"))
    return patterns(lines[language]["ask"], language)
