"""The catalogue that ships, and what a customer may put beside it."""

import re
from pathlib import Path

import pytest

from appliance.engines.options import Kind
from appliance.models import (
    Capability,
    Entry,
    EntryUnusable,
    VariantFormat,
    catalogue_folders,
    read_catalogue,
)
from appliance.models.entry import SHIPPED, read_entry
from appliance.models.licence import LicenceForbids, LicenceNotAccepted, check_licence, told_licence

ENTRIES, UNUSABLE = read_catalogue([SHIPPED])
OWN = """
title = "Our own"
family = "own"
kind = "text"
parameters = 1
capabilities = ["chat"]
sources = ["https://example.com/model"]
licence = { name = "MIT", commercial_use = true }

[[variants]]
format = "gguf"
quantisation = "Q8_0"
repository = "Example/Own"
files = ["own.gguf"]
"""
KIND_NEEDS = {
    Kind.EMBEDDINGS: Capability.EMBEDDINGS,
    Kind.RERANK: Capability.RERANK,
    Kind.TRANSCRIPTION: Capability.TRANSCRIPTION,
    Kind.IMAGES: Capability.IMAGES,
    Kind.TEXT: Capability.CHAT,
}


def test_every_file_that_ships_is_an_entry() -> None:
    assert UNUSABLE == ()
    assert len(ENTRIES) == len(list(SHIPPED.glob("*.toml"))) >= 30


@pytest.mark.parametrize(
    "family",
    [
        "qwen3",
        "qwen3.5",
        "gpt-oss",
        "mistral-small",
        "llama",
        "gemma-3",
        "deepseek-r1-distill",
        "bge",
        "whisper",
        "flux",
    ],
)
def test_the_families_of_this_market_are_there(family: str) -> None:
    assert any(entry.family == family for entry in ENTRIES.values())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_an_entry_is_consistent(entry: Entry) -> None:
    assert KIND_NEEDS[entry.kind] in entry.capabilities
    assert entry.lifecycle.migrate_to == "" or ENTRIES[entry.lifecycle.migrate_to].kind is entry.kind
    assert len({(each.repository, each.files) for each in entry.variants}) == len(entry.variants)
    assert any(each.format is not VariantFormat.SAFETENSORS for each in entry.variants), "can be run here"
    for variant in entry.variants:
        # a quantisation has so many bits for each parameter, whatever the file is called
        if variant.approximate_gb is not None:
            assert 1.5 < variant.approximate_gb * 8 / entry.parameters < 17


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_where_files_come_from_has_a_source_or_is_called_unverified(entry: Entry) -> None:
    text = " ".join(entry.sources).lower()
    for variant in entry.variants:
        named = variant.repository.lower() in text or variant.format is VariantFormat.SAFETENSORS
        # a model card of the same maker's, or a collection of his, names it
        by_maker = variant.repository.split("/")[0].lower() in text
        assert named or by_maker or not entry.is_verified("variants"), variant.repository


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_no_hash_is_made_up(file: Path) -> None:
    text = "\n".join(line for line in file.read_text().splitlines() if "https://" not in line)
    assert not re.search(r"\b[0-9a-f]{32,}\b|sha-?256", text, re.IGNORECASE)


def test_the_readme_names_every_part() -> None:
    readme = (SHIPPED / "README.md").read_text()
    for name in ("kind", "parameters", "active", "licence", "lifecycle", "variants", "sources", "unverified"):
        assert name in Entry.model_fields and f"{name}" in readme


def test_no_migration_goes_round_in_circles() -> None:
    for entry in ENTRIES.values():
        seen = [entry.name]
        while target := ENTRIES[seen[-1]].lifecycle.migrate_to:
            assert target not in seen
            seen.append(target)


def test_a_customers_own_entry_wins_and_a_broken_one_takes_nothing_away(tmp_path: Path) -> None:
    own = tmp_path / "catalogue"
    own.mkdir()
    (own / "bge-m3.toml").write_text(OWN)
    (own / "gpt-oss-20b.toml").write_text("title = ")
    entries, unusable = read_catalogue(catalogue_folders(tmp_path))
    assert entries["bge-m3"].title == "Our own"
    assert entries["gpt-oss-20b"] == ENTRIES["gpt-oss-20b"]
    assert [str(each).split(" is")[0] for each in unusable] == ["gpt-oss-20b.toml"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('"chat"', 'Input should be'),
        ("parameters = 1\n", '"parameters" is missing.'),
        ('title = "Our own"', 'there is no "titel". Is "title" meant?'),
        ("Example/Own", '"repository" in [variants] number 1: String'),
        ("https://example.com/model", 'Number 1 in [sources]: String should match'),
        ('family = "own"', "names an end, but not what to take instead"),
        ('quantisation = "Q8_0"', 'there is no "sha256"'),
        ("parameters = 1", "own.toml: it has more active parameters"),
        ("commercial_use", 'there is no "commercial" in [licence]. Is "commercial_use" meant?'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_entry_is_a_sentence(given: str, told: str, tmp_path: Path) -> None:
    wrong = {
        '"chat"': '"chatting"',
        "parameters = 1\n": "",
        'title = "Our own"': 'titel = "Our own"',
        "Example/Own": "../evil",
        "https://example.com/model": "http://example.com/model",
        'family = "own"': 'family = "own"\nlifecycle = { retired = 2026-01-01 }',
        'quantisation = "Q8_0"': 'quantisation = "Q8_0"\nsha256 = "00"',
        "parameters = 1": "parameters = 1\nactive = 2",
        "commercial_use": "commercial",
    }[given]
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace(given, wrong, 1))
    with pytest.raises(EntryUnusable) as refused:
        read_entry(file)
    assert told in refused.value.sentence and "own.toml" in refused.value.sentence


def test_licences() -> None:
    free, bound = ENTRIES["qwen3-8b"].licence, ENTRIES["gemma-3-12b"].licence
    check_licence(free, accepted=False)
    with pytest.raises(LicenceNotAccepted, match=r"Gemma Terms of Use.*ai\.google\.dev"):
        check_licence(bound, accepted=False)
    check_licence(bound, accepted=True)
    said = {
        name: told_licence(name)
        for name in ("cc-by-nc-4.0", "flux-1-dev-non-commercial-license", "apache-2.0")
    }
    assert [bool(each and each.commercial_use) for each in said.values()] == [False, False, True]
    assert told_licence("") is None
    nc = told_licence("cc-by-nc-4.0")
    assert nc
    with pytest.raises(LicenceForbids):
        check_licence(nc, accepted=True)
