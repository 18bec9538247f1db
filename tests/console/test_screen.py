"""The lines of the screen: they fit, they say what is wrong, and nobody's text can move the cursor."""

import re
import string
from dataclasses import replace
from ipaddress import IPv4Interface

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from appliance.boot import Attempt, Ending, RollbackStory, Word
from appliance.console import texts
from appliance.console.facts import BootStep, Facts, Fleet, StepState, Told, Trouble
from appliance.console.home import LABEL_COLUMNS
from appliance.console.menu import Menu, Page
from appliance.console.network_form import Problem
from appliance.console.painting import START, changes
from appliance.console.qr import REVERSED, blanks, half_blocks
from appliance.console.screen import Size, draw
from appliance.host.machine import (
    DataStatus,
    Disk,
    DiskInstallState,
    DiskInstallStatus,
    InstallState,
    InstallStatus,
    Interface,
    MachinePlan,
    MachineStatus,
)
from tests.console.glass import Screen

GIB = 1024**3
MACHINE = MachineStatus(
    version="1.0",
    slot="a",
    hostname="accueil",
    interfaces=(
        Interface(
            name="enp3s0",
            mac="02:00:00:00:00:01",
            carrier=True,
            addresses=(IPv4Interface("192.168.100.200/24"),),
        ),
        Interface(name="enp4s0", mac="02:00:00:00:00:02", carrier=False),
    ),
    gateway=None,
    dns=(),
    timezone="Europe/Paris",
    clock_synchronised=True,
    booted_at=0,
    tpm=True,
    secure_boot=True,
    data=DataStatus(
        encrypted=True, tpm_bound=True, recovery_key=True, size_bytes=500 * GIB, free_bytes=9 * GIB
    ),
    disks=(
        Disk(name="sda", model="Stick", size_bytes=16 * GIB, removable=True, is_boot_disk=True),
        Disk(name="nvme0n1", model="A disk 🐍\x1b[2J\n", size_bytes=1, removable=False, is_boot_disk=False),
    ),
)
FULL = Facts(
    name="accueil",
    version="1.0",
    urls=(
        "https://accueil.local/",
        "https://192.168.100.200/",
        "https://cellule.local/",
        "https://cellule-abcd.local/",
    ),
    scan_url="https://192.168.100.200/",
    claimed=False,
    claim_code="ABCD-EFGH-JKMN-PQRS",
    certificate="ab" * 32,
    authority="cd" * 32,
    fleet=Fleet(models=("cellule-demo",), demo=True, workers=4, workers_ready=3, requests=120, waiting=2),
    machine=MACHINE,
    plan=MachinePlan(),
    install=InstallStatus(state=InstallState.INSTALLING, percent=42, version="2.0"),
    disk_install=DiskInstallStatus(state=DiskInstallState.COPYING, percent=50, disk="nvme0n1"),
    told=tuple(Told(trouble, "some detail") for trouble in Trouble),
    story=RollbackStory(
        version="2.0",
        slot="b",
        tries=3,
        attempts=(
            Attempt(ending=Ending.CHECK_FAILED, check="answer", sentence="It answered nonsense. " * 9),
        ),
        running_version="1.0",
    ),
)
SIZES = [
    Size(),
    Size(80, 25),
    Size(132, 50),
    Size(240, 67),
    Size(40, 12),
    Size(20, 5),
    Size(80, 24, plain=True),
]


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.columns}x{size.rows}")
@pytest.mark.parametrize("page", Page)
def test_every_page_fits_every_screen(page: Page, size: Size, language: str) -> None:
    for facts in (Facts(), FULL, replace(FULL, word=Word(kind="good", version="1.0", sentence="Good."))):
        lines = draw(facts, Menu(page, typed="x" * 60, disk="nvme0n1"), size, language)
        assert len(lines) == size.rows
        for line in lines:
            assert len(line) < size.columns
            assert all(char.isprintable() or char == REVERSED for char in line)
            assert not size.plain or line.replace(REVERSED, " ").isascii()


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("ending", Ending)
def test_the_story_of_a_damaged_release_is_told_whole_on_the_smallest_usual_screen(
    ending: Ending, language: str
) -> None:
    story = RollbackStory(
        version="2.0",
        slot="b",
        tries=5,
        attempts=(Attempt(ending=ending, last_good_step="storage", check="pool", sentence="It was silent."),),
        running_version="1.0",
        was_good=True,
    )
    shown = " ".join("\n".join(draw(replace(FULL, told=(), story=story), Menu(), Size(), language)).split())
    no_longer, again, damaged = {
        "en": (
            "ran well and no longer starts: 5 starts",
            "Install 2.0 again",
            "copy on the disk is damaged",
        ),
        "fr": ("ne démarre plus : 5 démarrages", "Réinstallez 2.0.", "sans doute abîmée"),
    }[language]
    assert no_longer in shown
    assert again in shown
    assert (damaged in shown) == (ending in {Ending.NEVER_ARRIVED, Ending.HUNG})


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_no_label_runs_into_what_it_names(language: str) -> None:
    for key in ("claim_code", "model", "workers", "requests", "release", "update", "data"):
        assert len(texts.text(language, key)) < LABEL_COLUMNS, key


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_a_new_box_says_everything_on_the_smallest_usual_screen(language: str) -> None:
    shown = "\n".join(draw(replace(FULL, told=(), story=None), Menu(), Size(), language))
    for word in (*FULL.urls, FULL.claim_code, "ABAB " * 7 + "ABAB", "cellule-demo", "42 %", "7 QR"):
        assert word in shown
    assert "9,7 Go" in shown or "9.7 GB" in shown


@pytest.mark.parametrize("trouble", Trouble)
@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_every_trouble_is_said_and_costs_no_key(trouble: Trouble, language: str) -> None:
    shown = draw(replace(FULL, told=(Told(trouble, "DETAIL"),), story=None), Menu(), Size(), language)
    said = " ".join(line.strip() for line in shown if line.startswith((" !", "   ")))
    assert texts.text(language, trouble, detail="DETAIL").split(".")[0] in said
    assert shown[-1].strip().endswith("QR code")


@pytest.mark.parametrize(("language", "said"), [("en", "2.0, slot b"), ("fr", "2.0, emplacement b")])
def test_release_and_slot_are_said_before_the_broker_answers(language: str, said: str) -> None:
    facts = Facts(version="2.0", slot="b", language=language)
    assert said in "\n".join(draw(facts, Menu(), Size(), language))


def test_the_story_of_a_rollback_is_told_in_both_languages() -> None:
    story = FULL.story
    assert story
    for ending in Ending:
        told = story.model_copy(update={"attempts": (Attempt(ending=ending, last_good_step="storage"),)})
        for language in texts.LANGUAGES:
            shown = "\n".join(draw(replace(FULL, told=(), story=told), Menu(), Size(), language))
            assert "2.0" in shown and "3" in shown
            assert {"en": "is not tried again", "fr": "n'est plus essayée"}[language] in " ".join(
                shown.split()
            )


def test_steps_of_a_start_are_shown_in_their_order() -> None:
    steps = (
        BootStep("data-partition", StepState.DONE, "Mounted."),
        BootStep("storage", StepState.RUNNING),
        BootStep("broker", StepState.WAITING),
    )
    shown = "\n".join(draw(Facts(steps=steps), Menu(), Size(), "en"))
    assert re.search(r"ok data partition +Mounted\.\n \.\. storage\n +host broker", shown)
    assert "starting" in shown.splitlines()[0]


def test_every_sentence_has_the_same_gaps_in_both_languages() -> None:
    def gaps(language: str, key: str) -> set[str]:
        sentence = texts._TEXTS[key][texts.LANGUAGES.index(language)]
        return {field for _, field, _, _ in string.Formatter().parse(sentence) if field}

    for key in texts._TEXTS:
        assert gaps("en", key) == gaps("fr", key), key


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://192.168.100.200/", "http://127.0.0.1:8080/"])
def test_both_qr_codes_are_the_code_of_the_address(url: str) -> None:
    expected = [
        [bool(dark) for dark in row]
        for row in segno.make(url.upper().rstrip("/"), micro=False, error="l").matrix
    ]
    size = len(expected)
    rows = [[char in "█▀" for char in line] for line in half_blocks(url)]
    lower = [[char in "█▄" for char in line] for line in half_blocks(url)]
    light = [row for pair in zip(rows, lower, strict=True) for row in pair]
    assert [[not cell for cell in row[2 : 2 + size]] for row in light[2 : 2 + size]] == expected
    assert all(light[0]) and all(light[1]) and all(row[0] and row[-1] for row in light[: size + 4])
    wide = [[char == REVERSED for char in line[::2]] for line in blanks(url)]
    assert [[not cell for cell in row[1:-1]] for row in wide[1:-1]] == expected
    assert len(blanks(url)) <= 27 and len(half_blocks("https://192.168.100.200/")) == 13


ROWS = st.lists(st.text(alphabet="ab █é" + REVERSED, max_size=12).map(str.rstrip), min_size=4, max_size=4)


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_what_is_sent_turns_one_screen_into_the_next(screens: list[list[str]]) -> None:
    glass = Screen(14, 4)
    glass.feed(START.encode())
    before = [""] * 4
    for after in screens:
        sent = changes(before, after).encode()
        assert bool(sent) == (before != after)
        glass.feed(sent)
        assert glass.lines == [line.replace(REVERSED, "#") for line in after]
        before = after


def test_a_changed_figure_costs_a_few_bytes() -> None:
    facts = replace(FULL, told=(), story=None)
    later = replace(facts, fleet=replace(facts.fleet, requests=121)) if facts.fleet else facts
    before, after = (draw(each, Menu(), Size(), "en") for each in (facts, later))
    assert 0 < len(changes(before, after)) < 12


def test_a_refusal_is_shown_in_its_own_words() -> None:
    menu = Menu(said=Problem("refused", "The network 10.77.1.0/24 overlaps 10.77.0.0/16."))
    assert "overlaps 10.77.0.0/16" in "\n".join(draw(FULL, menu, Size(), "en"))
