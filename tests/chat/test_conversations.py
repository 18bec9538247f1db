"""Several conversations in a tab: named, renamed, deleted, put back, and kept nowhere but in that tab."""

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.chat.conftest import NewPage
from tests.chat.reading import answered, ask, last_answer, prose
from tests.chat.scripted import Gate, ScriptedBox, chunk, ending, saying, stream


def entries(page: Page) -> list[str]:
    return page.locator(".chat-conversation-title").all_inner_texts()


def new_conversation(page: Page) -> None:
    page.locator("#chat-new").click()


def test_a_conversation_is_named_by_its_first_question_and_can_be_renamed(page: Page) -> None:
    assert entries(page) == ["New conversation"]
    ask(page, "How do I print on the second floor when the printer on the first one is broken?")
    answered(page)
    assert entries(page) == ["How do I print on the second floor when the…"]
    page.locator(".chat-conversation").hover()
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_label("Name of the conversation")
    field.fill("Printers")
    field.press("Enter")
    assert entries(page) == ["Printers"]
    expect(page.get_by_role("heading", level=1)).to_have_text("Printers")
    ask(page, "And on the third?")
    answered(page)
    assert entries(page) == ["Printers"], "a given name stays"


def test_delete_can_be_undone_and_stops_a_running_answer(box: ScriptedBox, page: Page) -> None:
    ask(page, "Keep me")
    answered(page)
    new_conversation(page)
    gate = Gate()
    box.script = gate.between([chunk("Running")], [])
    ask(page, "Delete me")
    expect(prose(page)).to_have_text("Running")
    page.get_by_role("button", name="Delete “Delete me”").click()
    assert entries(page) == ["Keep me"]
    assert gate.left.wait(5)
    expect(prose(page)).to_have_text("Hello")
    page.get_by_role("button", name="Undo").click()
    assert entries(page) == ["Delete me", "Keep me"]
    expect(prose(page)).to_have_text("Running")
    expect(last_answer(page)).to_have_attribute("data-state", "stopped")


def test_drafts_and_conversations_survive_a_reload_but_not_the_tab(box: ScriptedBox, page: Page) -> None:
    ask(page, "Known in this tab")
    answered(page)
    page.get_by_label("Your question", exact=True).fill("half a thou")
    page.reload()
    expect(page.get_by_label("Your question", exact=True)).to_have_value("half a thou")
    expect(page.locator(".chat-bubble")).to_have_text(["Known in this tab"])
    other = page.context.new_page()
    other.goto(page.url)
    assert entries(other) == ["New conversation"]
    assert page.evaluate("localStorage.length") == 0


def test_the_box_stores_no_word_of_it(box: ScriptedBox, page: Page) -> None:
    box.script = saying("zebrafinch in the answer")
    ask(page, "quokkasaurus in the question")
    answered(page)
    files = [path for path in Path(box.settings.state_dir).rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert b"quokkasaurus" not in content, path
        assert b"zebrafinch" not in content, path


def test_another_account_in_the_same_tab_finds_nothing(box: ScriptedBox, page: Page) -> None:
    ask(page, "Only mine")
    answered(page)
    page.context.add_cookies(
        [{"name": "cellule_session", "value": box.sign_in("somebody-else"), "url": box.settings.base_url}]
    )
    page.reload()
    assert entries(page) == ["New conversation"]
    assert "Only mine" not in page.evaluate("JSON.stringify({...sessionStorage})")


def test_signing_out_forgets_the_conversations(box: ScriptedBox, page: Page) -> None:
    ask(page, "Forget me")
    answered(page)
    page.locator(".me summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert page.evaluate("sessionStorage.length") == 0


def test_what_another_version_stored_does_not_break_the_page(box: ScriptedBox, page: Page) -> None:
    ask(page, "Hello?")
    answered(page)
    page.reload()
    key = page.evaluate("Object.keys(sessionStorage)[0]")
    for stored in (json.dumps({"all": 3}), json.dumps({"currentId": "x", "all": [{}]}), "null"):
        page.add_init_script(f"sessionStorage.setItem({json.dumps(key)}, {json.dumps(stored)})")
        page.reload()
        assert entries(page) == ["New conversation"]
        ask(page, "Still alive?")
        answered(page)


def test_a_full_tab_storage_is_told(box: ScriptedBox, page: Page) -> None:
    box.script = lambda _: stream([chunk("word " * 40_000), ending()])
    page.evaluate("sessionStorage.setItem('filler', 'x'.repeat(5_200_000 - 300_000))")
    for number in range(3):
        ask(page, f"Question {number}")
        answered(page)
        expect(last_answer(page).locator(".chat-actions")).to_be_visible()
    expect(page.get_by_text("This tab is full")).to_be_visible()


def test_conversations_are_apart(box: ScriptedBox, new_page: NewPage) -> None:
    page = new_page()
    ask(page, "One")
    answered(page)
    new_conversation(page)
    expect(page.get_by_text("What can I help you with?")).to_be_visible()
    ask(page, "Two")
    answered(page)
    assert box.asked[-1]["messages"] == [{"role": "user", "content": "Two"}]
    new_conversation(page)
    new_conversation(page)
    assert entries(page) == ["New conversation", "Two", "One"], "an empty one is used again"
