"""The page on phones and large screens, in French, by keyboard, without motion."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.chat.conftest import NewPage
from tests.chat.reading import answered, ask
from tests.chat.scripted import Gate, ScriptedBox, chunk, ending, refusal, saying, stream

AUDIT = (Path(__file__).parents[1] / "web" / "audit.js").read_text()
WIDE = "| a | b | c | d | e |\n|--|--|--|--|--|\n| " + " | ".join(["incomprehensibilities"] * 5) + " |"
LONG = f"{'x' * 300}\n\n```\n{'y' * 300}\n```\n\n{WIDE}\n\nhttps://ok.example/{'z' * 300}"


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_sticks_out_sideways(box: ScriptedBox, new_page: NewPage, width: int) -> None:
    page = new_page(language="fr", width=width, height=780)
    box.script = lambda _: stream([chunk(LONG), ending()])
    page.get_by_label("Votre question", exact=True).fill("q" * 300)
    page.get_by_role("button", name="Envoyer").click()
    answered(page)
    for part in ("html", "#chat-scroller", "#chat-sidebar"):
        wider = page.locator(part).evaluate("node => node.scrollWidth - node.clientWidth")
        assert wider <= 0, f"{part} is {wider} px wider than it shows"
    assert page.locator("#chat-composer").bounding_box()["width"] <= width  # type: ignore[index]


def test_the_list_is_a_drawer_on_a_phone(box: ScriptedBox, new_page: NewPage) -> None:
    page = new_page(width=390, height=844, touch=True)
    sidebar = page.get_by_role("complementary", name="Conversations")
    expect(sidebar).to_be_hidden()
    opener = page.get_by_role("button", name="Conversations")
    for close in ("Escape", "button", "backdrop"):
        opener.tap()
        expect(sidebar).to_be_visible()
        expect(sidebar.get_by_role("button", name="New conversation").first).to_be_focused()
        if close == "Escape":
            page.keyboard.press("Escape")
        elif close == "button":
            sidebar.get_by_role("button", name="Close").tap()
        else:
            page.touchscreen.tap(380, 400)
        expect(sidebar).to_be_hidden()
        expect(opener).to_be_focused()


def test_french_page_and_french_troubles(box: ScriptedBox, new_page: NewPage) -> None:
    page = new_page(language="fr")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.get_by_role("heading", name="Que puis-je faire pour vous")).to_be_visible()
    box.script = refusal(503, "no_node")
    page.get_by_role("button", name="Imprimante").click()
    expect(page.locator(".chat-trouble")).to_contain_text("Aucune machine ne peut répondre pour le moment.")
    assert box.asked[0]["messages"] == [{"role": "user", "content": "L'imprimante ne marche pas"}]
    box.script = saying("Voilà")
    page.get_by_role("button", name="Réessayer").click()
    expect(answered(page).locator(".chat-facts-button")).to_contain_text("atelier-3")
    expect(page.locator(".chat-facts")).to_contain_text("Premier mot après")


def test_everything_is_reached_by_keyboard(box: ScriptedBox, page: Page) -> None:
    ask(page, "By keyboard")
    answered(page)
    reached = set()
    page.locator("#chat-new").focus()
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id")
        )
    for expected in (
        "Rename “By keyboard”",
        "Delete “By keyboard”",
        "chat-model",
        "Copy",
        "Edit the question",
        "Answer again",
        "chat-question",
    ):
        assert expected in reached, f"{expected} is not among {reached}"


def test_the_composer_grows_with_its_text_up_to_a_limit(page: Page) -> None:
    field = page.get_by_label("Your question", exact=True)
    one = field.bounding_box()["height"]  # type: ignore[index]
    field.fill("\n".join("line" for _ in range(4)))
    four = field.bounding_box()["height"]  # type: ignore[index]
    field.fill("\n".join("line" for _ in range(80)))
    eighty = field.bounding_box()["height"]  # type: ignore[index]
    field.fill("")
    assert one * 2 < four < eighty < 260
    assert field.bounding_box()["height"] == one  # type: ignore[index]


def test_no_motion_for_who_asked_for_none(box: ScriptedBox, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.reload()  # what moves already, of a page that came without that wish, would come to its end
    box.script = Gate().between([chunk("Still")], [])
    ask(page, "Calm?")
    expect(page.locator("[data-state=streaming]")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_model_is_chosen_per_conversation_and_a_demo_is_marked(box: ScriptedBox, page: Page) -> None:
    box.models = [{"id": "cellule-demo", "demo": True}, {"id": "office-7b", "demo": False}]
    page.reload()
    picker = page.get_by_label("Model")
    expect(picker).to_have_value("office-7b")
    expect(page.locator("#chat-demo")).to_be_hidden()
    picker.select_option("cellule-demo")
    page.locator("#chat-demo summary").click()
    expect(page.get_by_text("This is the demo model.")).to_be_visible()
    ask(page, "To the demo")
    answered(page)
    assert box.asked[-1]["model"] == "cellule-demo"
    page.reload()
    expect(picker).to_have_value("cellule-demo")


def test_only_models_that_chat_are_offered(box: ScriptedBox, page: Page) -> None:
    box.models = [
        {"id": "bge-m3", "kind": "embeddings"},
        {"id": "office-7b"},
        {"id": "whisper", "kind": "transcription"},
    ]
    page.reload()
    picker = page.get_by_label("Model")
    expect(picker).to_have_value("office-7b")
    expect(picker.locator("option")).to_have_text(["office-7b"])


def test_a_model_that_went_away_is_replaced(box: ScriptedBox, page: Page) -> None:
    ask(page, "With the demo")
    answered(page)
    box.models = [{"id": "office-7b", "demo": False}]
    box.script = refusal(404, "model_not_found")
    ask(page, "Gone?")
    page.locator("[data-kind=model_missing]").wait_for()
    box.script = saying("From the other")
    page.get_by_role("button", name="Try again").click()
    expect(answered(page).locator(".chat-prose")).to_have_text("From the other")
    assert box.asked[-1]["model"] == "office-7b"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_everything_can_be_read_and_operated(
    box: ScriptedBox, new_page: NewPage, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = new_page(width=width, height=844, touch=width < 500)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    assert page.evaluate(AUDIT) == []
    code = "```python\n# why\nif x == 'a':\n    return 1.5\n```"
    box.script = lambda _: stream([chunk(f"# Title\n\n> quoted `code`\n\n{code}\n\n{WIDE}"), ending()])
    for script in (
        box.script,
        refusal(400, "context_length_exceeded", "9000 tokens do not fit."),
        saying("Good"),
    ):
        box.script = script
        page.get_by_label("Your question", exact=True).fill("Audit me")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_role("button", name="Stop the answer")).to_be_hidden()
    expect(page.locator(".hljs-keyword")).to_have_count(2)
    page.locator(".chat-facts-button").first.focus()
    assert page.evaluate(AUDIT) == []
    page.locator("#chat-demo summary").click()
    assert page.evaluate(AUDIT) == []
    if width < 500:
        page.get_by_role("button", name="Conversations").tap()
    page.get_by_role("button", name="Delete “Audit me”").click()
    assert page.evaluate(AUDIT) == []
