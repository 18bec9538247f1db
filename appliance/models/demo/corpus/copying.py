"""Copying: "repeat this: …" with text that was never seen, which teaches attention to look back.

The text is drawn from invented words, real words, numbers, codes and punctuation, so that only
copying, never memory, can give the answer.
"""

import random
import string

from appliance.models.demo.corpus.intents import Language, shared_lists
from appliance.models.demo.corpus.patterns import Pattern

_SYLLABLES = (  # noqa: SIM905 (a list would take a page)
    "ba be bi bo bu cha che co da de di do fa fe fi ga ge go ha he jo ka ke ki la le li lo lu ma me "
    "mi mo na ne ni no pa pe pi po qui ra re ri ro ru sa se si so ta te ti to tra tre va ve vi vo wa "
    "xi yo za zu bran cle dor fen gri hol jun kat lin mor nel oph pran qua rem sol tur vel wen ing er "
    "on est al ic ment tion eau eur ette age"
).split()
INVENTED_WORD = f"(?:{'|'.join(_SYLLABLES)})+"
"""A regular expression of every word that `invented_word` may return, in lower case."""


def invented_word(rng: random.Random) -> str:
    word = "".join(rng.choices(_SYLLABLES, k=rng.choice((1, 2, 2, 3, 3, 4))))
    return word.capitalize() if rng.random() < 0.25 else word


def with_stray_word(text: str, language: Language, rng: random.Random) -> str:
    """`text` with a word put in that has nothing to do with it: people mention places, names and things."""
    words = text.split(" ")
    stray = invented_word(rng) if rng.random() < 0.4 else rng.choice(_real_words(language))
    words.insert(rng.randint(0, len(words)), stray)
    return " ".join(words)


def copy_example(language: Language, rng: random.Random) -> tuple[str, str]:
    """A request to repeat some text, and that text."""
    text = _passage(language, rng)
    request = Pattern(rng.choice(shared_lists(language)["repeat_request"].split("\n")), {}).sample(rng)
    if rng.random() < 0.7:
        request = request[0].upper() + request[1:]
    if rng.random() < 0.12:
        request = request.lower()
    opening, closing = rng.choices(
        ((": ", ""), (" : ", ""), (" ", ""), (":\n", ""), (": \"", "\""), (" : « ", " »"), (" '", "'")),
        (50, 16, 12, 8, 8, 3, 3),
    )[0]  # fmt: skip
    return request + opening + text + closing, text


def _passage(language: Language, rng: random.Random) -> str:
    words = [_word(language, rng) for _ in range(rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 8)))]
    text = words[0]
    for word in words[1:]:
        text += rng.choices((" ", ", ", "; ", "-", ". ", " / "), (80, 8, 2, 3, 5, 2))[0] + word
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    return text + rng.choices(("", ".", "!", "?"), (55, 30, 8, 7))[0]


def _word(language: Language, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.42:
        return invented_word(rng)
    if kind < 0.72:
        return rng.choice(_real_words(language))
    if kind < 0.82:
        return str(rng.randrange(10 ** rng.randint(1, 6)))
    if kind < 0.9:
        return "".join(rng.choices(string.ascii_letters + string.digits + "-_", k=rng.randint(2, 9)))
    if kind < 0.96:
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9)))
    return rng.choice(
        ("été", "naïve", "cœur", "€", "@", "#", "%", "&", "(x)", "[a]", "{b}", "*", "°", "élan", "ça")
    )


def _real_words(language: Language) -> list[str]:
    names = ("noun", "topic", "adjective", "verb", "name")
    return [word for name in names for word in shared_lists(language)[f"oos_{name}"].split("|")]
