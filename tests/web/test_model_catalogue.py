"""The catalogue's pages: what is shown for which purpose, and why a model can't be had."""

from pathlib import Path

import pytest

from appliance.models import (
    expected_size,
    list_gets,
    read_catalogue,
)
from tests.web.conftest import ENTRIES, Site, Visitor, allow_internet


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("", ["Tiny Chat 4M", "Giant Code 9000B", "Closed Vision 7B"], []),
        ("?for=vision", ["Closed Vision 7B"], ["Tiny Chat 4M"]),
        ("?for=chat&fits=yes", ["Tiny Chat 4M"], ["Giant Code 9000B"]),
        ("?q=giant+community", ["Giant Code 9000B"], ["Tiny Chat 4M"]),
        ("?q=nothing-like-this", ["Nothing of that kind"], ["Giant Code 9000B"]),
    ],
)
def test_the_catalogue_by_purpose_and_fit(
    admin: Visitor, stick: Path, query: str, shown: list[str], hidden: list[str]
) -> None:
    page = admin.get(f"/models/catalogue{query}").text
    assert [word for word in shown if word not in page] == []
    assert [word for word in hidden if word in page] == []


def test_a_broken_entry_is_told_and_hides_nothing(site: Site, admin: Visitor, stick: Path) -> None:
    (site.settings.state_dir / "catalogue" / "typo.toml").write_text("title = ")
    page = admin.get("/models/catalogue").text
    assert "A file of the catalogue can&#39;t be read." in page
    assert "Tiny Chat 4M" in page


def test_every_entry_that_ships_has_its_page(admin: Visitor) -> None:
    page = admin.get("/models/catalogue").text
    names = {part.split('"')[0] for part in page.split("/models/catalogue/")[1:]}
    assert len(names) > 20
    for name in names:
        assert admin.get(f"/models/catalogue/{name}").status_code == 200, name


def test_an_entry_says_why_not(admin: Visitor, stick: Path) -> None:
    assert "Its licence does not let a company use it." in admin.get("/models/catalogue/closed-vision").text
    giant = admin.get("/models/catalogue/giant-code").text
    assert "are missing." in giant
    assert "too large" in giant
    assert admin.get("/models/catalogue/nothing").status_code == 404


def test_a_get_needs_the_internet_the_licence_and_memory(site: Site, admin: Visitor, stick: Path) -> None:
    form = {"variant": "0", "name": "tiny"}
    refused = admin.post("/models/catalogue/tiny-chat", form)
    assert refused.status_code == 403
    assert "Models from the internet are not allowed on this box." in refused.text
    allow_internet(admin)
    assert admin.post("/models/catalogue/tiny-chat", {**form, "variant": "9"}).status_code == 400
    server = admin.post("/models/catalogue/tiny-chat", {**form, "variant": "1"})
    assert "runs on a server of its own only" in server.text
    assert admin.post("/models/catalogue/tiny-chat", form).location == "/models"
    giant = {"variant": "0", "name": "giant"}
    unread = admin.post("/models/catalogue/giant-code", giant)
    assert "Read it at https://example.org/giant/licence and accept it." in unread.text
    large = admin.post("/models/catalogue/giant-code", {**giant, "accepted": "yes"})
    assert "weights alone are" in large.text
    assert 'name="even_if_too_large"' in large.text
    assert [get.name for get in list_gets(site.activity)] == ["tiny"]


def test_what_an_entry_does_not_say_of_its_size_is_computed() -> None:
    entries, _ = read_catalogue([ENTRIES])
    tiny, giant = entries["tiny-chat"], entries["giant-code"]
    said = expected_size(giant, giant.variants[0])
    assert said
    assert (said.weights_bytes, said.is_estimated) == (5 * 10**12, False)
    computed = expected_size(tiny, tiny.variants[1])
    assert computed
    assert (computed.weights_bytes, computed.is_estimated) == (8_000_000, True)
    unknown = tiny.variants[1].model_copy(update={"quantisation": "Q9_X"})
    assert expected_size(tiny, unknown) is None
