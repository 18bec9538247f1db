"""The first page: where the box is reached and who may claim it, how it is, and what is wrong. Pure."""

import textwrap

from appliance.boot import Ending, RollbackStory
from appliance.console.facts import Facts
from appliance.console.menu import Menu
from appliance.console.qr import half_blocks
from appliance.console.texts import text
from appliance.host.machine import InstallState, SlotState

LABEL_COLUMNS = 13


def home(facts: Facts, menu: Menu, language: str, width: int, rows: int, *, blocks: bool) -> list[str]:
    """At most `rows` lines of `width`."""
    code = half_blocks(facts.scan_url) if blocks and facts.scan_url and width >= 72 and rows >= 22 else ()
    left = [*_addresses(facts, language), *_claim(facts, language)]
    notices = _notices(facts, menu, language, width)
    if facts.is_booting:
        notices = [*_steps(facts, language, width), *notices]
    else:
        left += _state(facts, language)
    rule = " " + "-" * (width - 2)
    keys = _keys(facts, language, width)
    # what is wrong goes before how things are, and neither ever costs the keys
    room = max(rows - 3 - len(keys), 1)
    upper = _beside(left, code, width)[: max(room - len(notices), len(code))]
    lines = [*upper, *([""] if len(upper) + len(notices) < room else []), *notices]
    lines = (lines + [""] * room)[:room]
    return [_title(facts, language, width), rule, *lines, rule, *keys]


def _title(facts: Facts, language: str, width: int) -> str:
    if facts.is_booting:
        state = text(language, "starting")
    elif facts.word is None:
        state = text(language, "unjudged")
    else:
        state = text(language, "ready" if facts.word.is_good else "not_good")
    left = f" {text(language, 'product')} {facts.version}   {facts.name}"
    return f"{left[: width - len(state) - 2]:<{width - len(state) - 1}}{state}"


def _addresses(facts: Facts, language: str) -> list[str]:
    if not facts.urls:
        return [text(language, "no_url"), ""]
    return [text(language, "open"), *(f"  {url}" for url in facts.urls[:4]), ""]


def _claim(facts: Facts, language: str) -> list[str]:
    if not facts.claim_code:
        return []
    lines = [_row(language, "claim_code", facts.claim_code), text(language, "claim_how")]
    if facts.certificate:
        first, second = grouped(facts.certificate)
        lines += [text(language, "fingerprint"), f"  {first}", f"  {second}"]
    return [*lines, ""]


def grouped(fingerprint: str) -> tuple[str, str]:
    """64 hex digits as two lines of eight groups, to compare by eye."""
    groups = [fingerprint[at : at + 4].upper() for at in range(0, len(fingerprint), 4)]
    return " ".join(groups[:8]), " ".join(groups[8:])


def _state(facts: Facts, language: str) -> list[str]:
    return [*_fleet(facts, language), *_release(facts, language), *_data(facts, language)]


def _fleet(facts: Facts, language: str) -> list[str]:
    fleet = facts.fleet
    if fleet is None:
        return [_row(language, "model", text(language, "unknown"))]
    models = ", ".join(fleet.models)
    kind = "model_away" if not models else "model_demo" if fleet.demo else "model_ready"
    workers = "workers_of" if fleet.workers else "workers_none"
    requests = "pool_silent" if fleet.waiting is None else "requests_of"
    return [
        _row(language, "model", text(language, kind, models=models)),
        _row(language, "workers", text(language, workers, ready=fleet.workers_ready, all=fleet.workers)),
        _row(language, "requests", text(language, requests, count=fleet.requests, waiting=fleet.waiting)),
    ]


def _release(facts: Facts, language: str) -> list[str]:
    version = facts.version
    if facts.slot:
        version = text(language, "release_in", version=version, slot=facts.slot)
    lines = [_row(language, "release", version)] if version else []
    if update := _update(facts, language):
        lines.append(_row(language, "update", update))
    return lines


def _update(facts: Facts, language: str) -> str:
    install = facts.install
    if install is not None and install.state is not InstallState.IDLE:
        return text(language, f"update_{install.state}", version=install.version, percent=install.percent)
    trying = next((slot for slot in facts.slots if slot.booted and slot.state is SlotState.TRYING), None)
    return text(language, "update_trying", version=trying.version) if trying else ""


def _data(facts: Facts, language: str) -> list[str]:
    if facts.machine is None or not facts.machine.data.size_bytes:
        return []
    data = facts.machine.data
    kind = "data_plain" if not data.encrypted else "data_tpm" if data.tpm_bound else "data_by_key"
    free, size = (gigabytes(count, language) for count in (data.free_bytes, data.size_bytes))
    value = text(language, "data_free", how=text(language, kind), free=free, size=size)
    return [_row(language, "data", value)]


def gigabytes(count: int, language: str) -> str:
    """Bytes as people count them; whole ones from 10 on."""
    amount = count / 1e9
    number = f"{amount:.0f}" if amount >= 10 else f"{amount:.1f}"
    return text(language, "gigabytes", count=number.replace(".", "," if language == "fr" else "."))


def _row(language: str, key: str, value: str) -> str:
    return f"{text(language, key):<{LABEL_COLUMNS}}{value}"


def _beside(left: list[str], code: tuple[str, ...], width: int) -> list[str]:
    room = width - (len(code[0]) + 2 if code else 0)
    padded = left + [""] * (len(code) - len(left))
    return [
        f" {line[: room - 2]:<{room - 1}}{code[row]}" if row < len(code) else f" {line}"
        for row, line in enumerate(padded)
    ]


def _steps(facts: Facts, language: str, width: int) -> list[str]:
    lines = []
    for step in facts.steps:
        state, name = text(language, f"state_{step.state}"), text(language, f"step_{step.name}")
        lines.append(f" {state:<3}{name:<24}{step.sentence}"[:width])
    return lines


def _notices(facts: Facts, menu: Menu, language: str, width: int) -> list[str]:
    said = [text(language, each.trouble, detail=each.detail) for each in facts.told]
    if menu.said:
        said.insert(0, say(menu, language))
    if facts.word is not None and not facts.word.is_good:
        said.append(text(language, "found", sentence=facts.word.sentence, next=facts.word.next_step))
    if facts.story is not None:
        said.append(_story(facts, language))
    return [line for each in said for line in wrapped(each.strip(), width, first=" ! ", rest="   ")]


def say(menu: Menu, language: str) -> str:
    """What the last deed or key led to; a refusal in its own words."""
    if menu.said is None:
        return ""
    if menu.said.key == "refused":
        return menu.said.detail
    return text(language, menu.said.key, detail=menu.said.detail)


def wrapped(sentence: str, width: int, *, first: str = " ", rest: str = " ") -> list[str]:
    """Lines of at most `width`."""
    return textwrap.wrap(sentence, width - 1, initial_indent=first, subsequent_indent=rest)


def _story(facts: Facts, language: str) -> str:
    story = facts.story
    assert story is not None
    telling = story.telling
    step = telling.last_good_step or "start"
    key = f"ending_{Ending(telling.ending)}"
    ending = text(language, key, check=telling.check, sentence=telling.sentence, step=step)
    return text(
        language,
        _story_key(story),
        version=story.version,
        tries=story.tries,
        ending=ending,
        running=story.running_version,
    )


def _story_key(story: RollbackStory) -> str:
    if not story.was_good:
        return "story"
    if story.never_arrived:
        return "story_unmounted"
    return "story_damaged" if story.looks_damaged else "story_was_good"


def _keys(facts: Facts, language: str, width: int) -> list[str]:
    names = ["network", "fingerprint", "restart", "reset", "language", "qr"]
    if facts.runs_from_stick:
        names.insert(5, "install")
    lines = [""]
    for name in names:
        key = text(language, f"key_{name}")
        if len(lines[-1]) + 2 + len(key) > width:
            lines.append("")
        lines[-1] += f"{'  ' if lines[-1] else ' '}{key}"
    return lines
