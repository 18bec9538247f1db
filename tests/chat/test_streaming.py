"""Answers come word by word, can be stopped, and go on while another conversation is read."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.chat.conftest import NewPage
from tests.chat.reading import answered, ask, last_answer, prose
from tests.chat.scripted import Gate, ScriptedBox, chunk, ending, saying, stream


def test_text_shows_before_the_answer_is_complete(box: ScriptedBox, page: Page) -> None:
    gate = Gate()
    box.script = gate.between([chunk("The box "), chunk("answers")], [chunk(" itself."), ending(3)])
    ask(page, "Who answers?")
    expect(prose(page)).to_have_text("The box answers")
    expect(last_answer(page)).to_have_attribute("data-state", "streaming")
    gate.open()
    expect(prose(page)).to_have_text("The box answers itself.")
    expect(last_answer(page)).to_have_attribute("data-state", "complete")
    assert box.asked[0]["stream"] is True
    assert box.asked[0]["messages"] == [{"role": "user", "content": "Who answers?"}]
    assert box.asked[0]["model"] == "cellule-demo"


def test_bytes_cut_anywhere_give_the_same_text(box: ScriptedBox, page: Page) -> None:
    text = "Déjà vu — 🖨️ über straße\n\n- один\n- 二"
    body = b"\xef\xbb\xbf: hello\r\n\r\n" + (chunk(text) + ending()).replace(b"\n", b"\r\n")

    def one_byte_each() -> Iterator[bytes]:
        for value in body:
            yield bytes([value])

    box.script = lambda _: stream(one_byte_each())
    ask(page, "Odd pieces?")
    assert answered(page).locator(".chat-prose").inner_text() == "Déjà vu — 🖨️ über straße\n\nодин\n二"


def test_stop_keeps_the_partial_answer_and_closes_the_request(box: ScriptedBox, page: Page) -> None:
    gate = Gate()
    box.script = gate.between([chunk("Only the first part")], [])
    ask(page, "A long story?")
    expect(prose(page)).to_have_text("Only the first part")
    page.get_by_role("button", name="Stop the answer").click()
    expect(last_answer(page)).to_have_attribute("data-state", "stopped")
    expect(last_answer(page)).to_contain_text("You stopped this answer.")
    expect(prose(page)).to_have_text("Only the first part")
    assert gate.left.wait(5), "the server was not told that the person left"

    box.script = saying("and the rest.")
    page.get_by_role("button", name="Continue").click()
    expect(prose(page)).to_have_text("Only the first partand the rest.")
    assert box.asked[-1]["messages"][-2:] == [
        {"role": "assistant", "content": "Only the first part"},
        {"role": "user", "content": "Continue exactly where you stopped."},
    ]


def test_another_conversation_goes_on_while_one_is_read(box: ScriptedBox, page: Page) -> None:
    slow = Gate()
    box.script = slow.between([chunk("Slowly")], [chunk(" but surely."), ending()])
    ask(page, "Slow question")
    expect(prose(page)).to_have_text("Slowly")
    page.get_by_role("button", name="New conversation").first.click()
    box.script = saying("Quick answer")
    ask(page, "Quick question")
    expect(answered(page).locator(".chat-prose")).to_have_text("Quick answer")

    slow.open()
    entry = page.locator(".chat-conversation", has_text="Slow question")
    expect(entry.get_by_label("New answer")).to_be_visible()
    entry.locator("button").first.click()
    expect(prose(page)).to_have_text("Slowly but surely.")
    expect(entry.get_by_label("New answer")).to_have_count(0)


def test_regenerate_and_edit_replace_the_last_exchange(box: ScriptedBox, page: Page) -> None:
    ask(page, "First")
    answered(page)
    box.script = saying("Hello again")
    page.get_by_role("button", name="Answer again").click()
    expect(prose(page)).to_have_text("Hello again")
    assert box.asked[-1]["messages"] == [{"role": "user", "content": "First"}]

    page.get_by_label("Your question", exact=True).press("ArrowUp")
    page.get_by_label("Your question, changed").fill("Second")
    page.keyboard.press("Enter")
    expect(page.locator(".chat-bubble")).to_have_text(["Second"])
    answered(page)
    assert box.asked[-1]["messages"] == [{"role": "user", "content": "Second"}]


def test_the_answer_tells_node_speed_and_first_word(box: ScriptedBox, page: Page) -> None:
    ask(page, "Who?")
    button = answered(page).locator(".chat-facts-button")
    expect(button).to_contain_text("atelier-3")
    panel = page.get_by_role("tooltip")
    expect(panel).to_be_hidden()
    button.hover()
    expect(panel).to_be_visible()
    for words in ("atelier-3", "cellule-demo", "First word after", "req-1"):
        expect(panel).to_contain_text(words)
    shown, scroller = panel.bounding_box(), page.locator("#chat-scroller").bounding_box()
    assert shown and scroller
    assert scroller["y"] <= shown["y"], "its upper end is cut off"
    assert shown["y"] + shown["height"] <= scroller["y"] + scroller["height"]


@pytest.mark.parametrize(("sent", "shown"), [("Zo%C3%A9%20%231", "Zoé #1"), ("100%-pc", "100%-pc")])
def test_the_name_of_a_node_is_shown_as_it_was_typed(
    box: ScriptedBox, page: Page, sent: str, shown: str
) -> None:
    box.script = lambda _: stream([chunk("Here."), ending()], node=sent)
    ask(page, "Who?")
    expect(answered(page).locator(".chat-facts-button")).to_contain_text(shown)


def test_an_answer_in_one_piece_claims_no_absurd_speed(box: ScriptedBox, page: Page) -> None:
    gate = Gate()
    box.script = gate.between([], [chunk("All") + chunk(" at") + chunk(" once") + ending(50)])
    ask(page, "Fast?")
    expect(last_answer(page)).to_have_attribute("data-state", "waiting")
    page.wait_for_timeout(500)  # 50 tokens in half a second and a little more: under 100 a second
    gate.open()
    summary = answered(page).locator(".chat-facts-button").inner_text()
    speed = re.search(r"([\d,.]+) tokens/s", summary)
    assert speed and 5 < float(speed[1].replace(",", "")) < 100, summary


def test_a_reload_in_mid_answer_keeps_what_came(box: ScriptedBox, page: Page) -> None:
    box.script = Gate().between([chunk("Half of")], [])
    ask(page, "Reload?")
    expect(prose(page)).to_have_text("Half of")
    page.reload()
    expect(prose(page)).to_have_text("Half of")
    expect(last_answer(page)).to_have_attribute("data-state", "interrupted")
    box.script = saying("The whole answer")
    page.get_by_role("button", name="Try again").click()
    expect(prose(page)).to_have_text("The whole answer")


def test_the_page_follows_only_a_reader_at_the_end(box: ScriptedBox, page: Page) -> None:
    gate = Gate()
    long_text = "\n\n".join(f"Paragraph {number}" for number in range(60))
    box.script = gate.between([chunk(long_text)], [chunk("\n\nThe end."), ending()])
    ask(page, "Long?")
    expect(page.get_by_text("Paragraph 59")).to_be_in_viewport()
    page.locator("#chat-scroller").hover()
    page.mouse.wheel(0, -1500)
    jump = page.get_by_role("button", name="Jump to the latest")
    expect(jump).to_be_visible()
    gate.open()
    answered(page)
    expect(page.get_by_text("The end.")).not_to_be_in_viewport()
    jump.click()
    expect(page.get_by_text("The end.")).to_be_in_viewport()
    expect(jump).to_be_hidden()


def test_a_screen_reader_hears_the_answer_once(box: ScriptedBox, page: Page) -> None:
    page.evaluate(
        """() => { window.heard = [];
        new MutationObserver(() => heard.push(document.querySelector('#chat-announcer').textContent))
            .observe(document.querySelector('#chat-announcer'), {childList: true}); }"""
    )
    box.script = saying("One two three four five six seven eight nine ten")
    ask(page, "Count")
    answered(page)
    assert page.evaluate("heard") == [
        "Question sent, waiting for the answer.",
        "Answer: One two three four five six seven eight nine ten",
    ]


def test_enter_that_ends_a_composition_does_not_send(box: ScriptedBox, page: Page) -> None:
    field = page.get_by_label("Your question", exact=True)
    field.fill("こんにちは")
    composing = (
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true})"
    )
    field.evaluate(f"field => field.dispatchEvent({composing})")
    field.press("Shift+Enter")
    field.press("x")
    assert box.asked == []
    assert field.input_value() == "こんにちは\nx"
    field.press("Enter")
    answered(page)
    assert box.asked[0]["messages"][0]["content"] == "こんにちは\nx"


def test_questions_work_from_the_phone_with_a_tap(box: ScriptedBox, new_page: NewPage) -> None:
    page = new_page(width=390, height=844, touch=True)
    page.get_by_label("Your question", exact=True).fill("From the phone")
    page.keyboard.press("Enter")
    assert box.asked == [], "Enter of a touch keyboard is a new line"
    page.get_by_role("button", name="Send").tap()
    button = answered(page).locator(".chat-facts-button")
    button.tap()
    expect(page.get_by_role("tooltip")).to_be_visible()
