"""What the box says in English is French on French pages: every sentence that its code can say."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
from flask_babel import force_locale

import appliance
from appliance import boot, claim, host, keeping, models, storage, support, updating
from appliance.boot.failure import CheckFailed
from appliance.enrolment import app as enrolment_app
from appliance.enrolment import pinned, reception
from appliance.errors import Refusal
from appliance.handout import box_files, hours, pieces, serving
from appliance.hardware import places as hardware_places
from appliance.hardware import read_profiles
from appliance.models import read_catalogue
from appliance.models.entry import SHIPPED as CATALOGUE
from appliance.worker import fetching, model_room, model_store, piece_sources
from appliance.worker import handout as worker_handout
from tests.web.conftest import Site
from webadmin import backups_in_words, models_in_words, refusals, updates_in_words
from webadmin.box_in_words import in_words

SPEAKING = (boot, claim, host, keeping, models, storage, support, updating)
"""The packages whose refusals reach pages, at once or by what they recorded."""
NOT_IN_PAGES = {
    # the console of a box that runs from a stick
    "host/linux/disk_install.py",
    # the vendor's own machine, where releases and requests are made
    "updating/channel_folder.py",
    "updating/packing.py",
    "updating/publish.py",
    "updating/vendor_keys.py",
    "updating/bundle.py",
    "support/vendor.py",
    "support/exchange.py",
    # answers to the vendor's questions
    "support/commands.py",
    # each has its own sentence by `problem`, in webadmin.machine_forms
    "host/certificate.py",
}
ON_THEIR_WAY: dict[ModuleType, set[str] | None] = {
    **dict.fromkeys((box_files, hours, pieces, serving), None),
    **dict.fromkeys((fetching, model_room, model_store, piece_sources, pinned, worker_handout), None),
    reception: {"not_to_have"},
    enrolment_app: {"enrolment_broken"},
}
"""What a PC tells of models on their way, in its own words or the box's: a page has the sentence and no code.
Of the last two, the refusals of those codes."""
TOLD_WITH_MORE = {
    "support_request_out_of_time": "with both clocks, in webadmin.support",
    "bundle_not_trusted": "of an install, in updates_in_words.install_trouble",
}
SAID_OF_A_FILE = "self._refuse"
"""Its text follows the file's name (appliance/models/gguf_header.py)."""
NOT_COME = "self._fail"
"""Its second argument says why a model has not come (appliance/worker/handout.py)."""
RESULTS = {"AcceleratorState", "Judgement", "Permission"}
"""Pure rules that give their sentence back as `sentence`; the first argument says whether it is a failure."""


@dataclass(frozen=True)
class Said:
    """One sentence of the code; its facts are `§`."""

    where: str
    code: str
    sentence: str


def every_kind(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for each in kind.__subclasses__():
        yield from every_kind(each)


def text_of(node: ast.expr) -> str | None:
    """A literal text; None for one that is made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "§" for part in parts)
    return None


def said_in(path: Path, codes: dict[str, str]) -> Iterator[Said]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == SAID_OF_A_FILE:
            if text := text_of(node.args[0]):
                yield Said(f"{path}:{node.lineno}", "", f"§ {text}.")
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) == NOT_COME:
            if text := text_of(node.args[1]):
                yield Said(f"{path}:{node.lineno}", "", text)
            continue
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name, texts = node.func.id, [*node.args[:2]]
        troubles = [keyword.value for keyword in node.keywords if keyword.arg == "trouble"]
        if troubles:
            texts = troubles
        elif name in RESULTS:
            texts = texts[1:] if text_of(texts[1]) and ast.unparse(texts[0]) == "False" else []
        elif name not in codes:
            continue
        else:
            texts = texts[:1] + [keyword.value for keyword in node.keywords if keyword.arg == "next_step"]
        for text in filter(None, map(text_of, texts)):
            # a command to type is the same in every language
            # and what has no word of its own is made elsewhere
            if not text.startswith("apt-get ") and any(character.isalpha() for character in text):
                yield Said(f"{path}:{node.lineno}", codes.get(name, ""), text)


@pytest.fixture(scope="module")
def said() -> list[Said]:
    kinds = [*every_kind(Refusal), CheckFailed]
    codes = {kind.__name__: str(getattr(kind, "code", "")) for kind in kinds}
    root = Path(next(iter(appliance.__path__)))
    paths = [
        path
        for package in SPEAKING
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
        if str(path.relative_to(root)) not in NOT_IN_PAGES
    ]
    on_their_way = [
        replace(each, code="")
        for module, wanted in ON_THEIR_WAY.items()
        for each in said_in(Path(str(module.__file__)), codes)
        if wanted is None or each.code in wanted
    ]
    return [each for path in paths for each in said_in(path, codes)] + on_their_way


def has_words(code: str) -> bool:
    """Whether the pages know what to say from the code alone."""
    return (
        code in refusals._SENTENCES
        or code in backups_in_words.TROUBLES
        or code in models_in_words.TROUBLES
        or code in updates_in_words._TROUBLES
        or code in TOLD_WITH_MORE
    )


def test_every_sentence_of_the_code_has_its_french(site: Site, said: list[Said]) -> None:
    assert len(said) > 120
    with site.app.test_request_context(), force_locale("fr"):
        missing = [
            each for each in said if not has_words(each.code) and in_words(each.sentence) == each.sentence
        ]
    assert missing == [], "\n".join(map(str, missing))


@pytest.mark.parametrize(
    ("told", "french"),
    [
        (
            "The pool does not answer: [Errno 2] No such file or directory. (waited 60 s)",
            "Le service qui prend les requêtes ne répond pas\N{NO-BREAK SPACE}:"
            " fichier ou dossier introuvable (erreur 2). (attente\N{NO-BREAK SPACE}: 60 s)",
        ),
        (
            "The host broker does not answer: The host broker does not answer on /run/x: timed out.",
            "Le service qui règle la machine ne répond pas\N{NO-BREAK SPACE}: Le service qui règle la machine"
            " ne répond pas sur /run/x\N{NO-BREAK SPACE}: délai dépassé.",
        ),
        (
            "There is no disk sdb. Choose another disk.",
            "Il n’y a pas de disque sdb. Choisissez un autre disque.",
        ),
        ("Copying image to rootfs.1 done.", "Copie vers rootfs.1\N{NO-BREAK SPACE}: fait."),
        (
            "The USB stick can't be read: mount: wrong fs type Use one formatted with FAT or exFAT.",
            "La clé USB est illisible\N{NO-BREAK SPACE}: mount: wrong fs type"
            " Utilisez-en une formatée en FAT ou exFAT.",
        ),
        (
            "Office hours of Monday are 08:00-18:00; models travel afterwards.",
            "Lundi, les heures de bureau sont 08:00-18:00\N{NO-BREAK SPACE}; les modèles voyagent ensuite.",
        ),
        (
            "The box does not give pieces now: timed out.",
            "Le boîtier ne donne pas de morceaux pour l’instant\N{NO-BREAK SPACE}: délai dépassé.",
        ),
        ("A word of a later release.", "A word of a later release."),
    ],
)
def test_facts_and_several_sentences(site: Site, told: str, french: str) -> None:
    with site.app.test_request_context():
        with force_locale("fr"):
            assert in_words(told) == french
        with force_locale("en"):
            assert in_words(told) == told


ENGLISH_WORD = r"\b(and|by|with|other|any|newer|integrated|processor|also|data centre|series|to|bit)\b"


def shipped_texts() -> Iterator[str]:
    """What files of the release say to readers of pages, sentence by sentence."""
    profiles, _ = read_profiles([hardware_places.SHIPPED])
    for profile in profiles.values():
        yield from [profile.title] if re.search(ENGLISH_WORD, profile.title, re.IGNORECASE) else []
        yield profile.needs.missing_is_mended_by
        yield from (bad.because for bad in profile.bad)
    entries, _ = read_catalogue([CATALOGUE])
    for entry in entries.values():
        for text in (entry.note, entry.licence.note, entry.lifecycle.because):
            yield from re.split(r"(?<=\.) ", text) if text else []


def test_what_shipped_files_say_is_french(site: Site) -> None:
    texts = set(shipped_texts())
    assert len(texts) > 70
    with site.app.test_request_context(), force_locale("fr"):
        assert sorted(text for text in texts if in_words(text) == text) == []
        told = in_words(
            "Known not to work: The firmware release 20251125 makes Strix Halo fault and hang under ROCm;"
            " 20260110 and newer are mended."
        )
    assert told.startswith("Connu pour ne pas fonctionner") and "c’est réparé à partir du 20260110" in told
