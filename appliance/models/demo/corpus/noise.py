"""Makes a clean wording look typed by a person in a hurry: case, punctuation, politeness, accents, typos."""

import random
import unicodedata

from appliance.models.demo.corpus.intents import Language, shared_lists
from appliance.models.demo.corpus.patterns import Pattern

_BEFORE: dict[Language, tuple[str, ...]] = {
    "en": (
        "hi, ", "hello, ", "hello! ", "hey ", "hey, ", "good morning, ", "please ",
        "quick question: ", "excuse me, ", "sorry, ", "so ", "and ", "ok, ", "also, ", "well, ",
        "one more thing: ", "i have a question: ", "question: ", "can you tell me: ", "tell me: ",
        "i wonder: ", "dear assistant, ", "um, ", "right, ", "next question: ",
    ),
    "fr": (
        "bonjour, ", "salut, ", "bonjour ! ", "s'il te plaît, ", "s'il vous plaît, ",
        "petite question : ", "excuse-moi, ", "pardon, ", "alors, ", "et ", "ok, ", "dis-moi, ",
        "dites-moi : ", "encore une chose : ", "j'ai une question : ", "question : ", "euh, ",
        "hello, ", "coucou, ", "bonsoir, ", "bon, ", "autre question : ",
    ),
}  # fmt: skip
_AFTER: dict[Language, tuple[str, ...]] = {
    "en": (
        " please", ", please", " thanks", ", thank you", " thx", " exactly", " by the way",
        " for me", " now", " today",
    ),
    "fr": (
        " s'il te plaît", ", s'il vous plaît", " svp", " stp", " merci", ", merci d'avance",
        " exactement", " au fait", " maintenant", " aujourd'hui",
    ),
}  # fmt: skip
_ENDINGS: dict[Language, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "en": (("?", "", ".", "!", "??", " ?", "...", "?!"), (50, 32, 8, 3, 2, 2, 2, 1)),
    "fr": ((" ?", "?", "", ".", " !", "!", "??", "..."), (35, 20, 30, 7, 3, 2, 1, 2)),
}


def typed(text: str, language: Language, rng: random.Random) -> str:
    """`text` (a pattern's sample, without final punctuation) as somebody may have typed it."""
    if rng.random() < 0.07:
        text = f"{Pattern('@lead_in', shared_lists(language)).sample(rng)} {text}"
    if rng.random() < 0.15:
        text = rng.choice(_BEFORE[language]) + text
    if rng.random() < 0.08:
        text += rng.choice(_AFTER[language])
    if text[-1] not in "?!.":
        endings, weights = _ENDINGS[language]
        text += rng.choices(endings, weights)[0]
    for _ in range(rng.choices((0, 1, 2), (84, 12, 4))[0]):
        text = _typo(text, rng)
    if language == "fr" and rng.random() < 0.15:
        text = without_accents(text)
    if language == "fr" and rng.random() < 0.2:
        text = text.replace("'", rng.choice("’ "))
    case = rng.random()
    if case < 0.62:
        return text[0].upper() + text[1:]
    if case < 0.94:
        return text.lower()
    return text.title() if case < 0.97 else text.upper()


def without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def _typo(text: str, rng: random.Random) -> str:
    """Drops, doubles, swaps or replaces one character."""
    if len(text) < 4:
        return text
    at = rng.randrange(len(text) - 1)
    match rng.randrange(4):
        case 0:
            return text[:at] + text[at + 1 :]
        case 1:
            return text[:at] + text[at] + text[at:]
        case 2:
            return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]
        case _:
            return text[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + text[at + 1 :]
