"""Whatever goes wrong is a sentence with what to do next, and nothing that came is lost."""

import json
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.storage import open_activity, transaction
from tests.chat.reading import answered, ask, last_answer, prose
from tests.chat.scripted import Gate, ScriptedBox, chunk, ending, event, refusal, saying, stream

TROUBLES = [
    # status, code, words of the sentence, the first thing to do
    (401, "invalid_api_key", "Your sign-in has ended.", "Sign in again"),
    (403, "forbidden", "Reload the page", "Reload the page"),
    (404, "model_not_found", "Choose another one above", "Try again"),
    (400, "context_length_exceeded", "longer than the model can read", "Ask it in a new conversation"),
    (400, "invalid_request", "did not accept this question", "Edit the question"),
    (413, "body_too_large", "Shorten it.", "Edit the question"),
    (429, "rate_limit_exceeded", "Too many questions at once.", "Try again"),
    (503, "no_node", "No machine can answer right now.", "Try again"),
    (502, "bad_upstream_answer", "No machine can answer right now.", "Try again"),
    (500, "internal_error", "Reference for your admin: req-9", "Try again"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_each_refusal_says_what_to_do(
    box: ScriptedBox, page: Page, trouble: tuple[int, str, str, str]
) -> None:
    status, code, words, action = trouble
    box.script = refusal(status, code)
    ask(page, "Will it work?")
    expect(last_answer(page).locator(".chat-trouble")).to_contain_text(words)
    expect(last_answer(page).locator(".chat-trouble button").first).to_have_text(action)
    expect(page.get_by_label("Your question", exact=True)).to_be_editable()

    # a question that was never answered is not sent along with the next one
    box.script = saying("Now it does")
    ask(page, "And now?")
    answered(page)
    assert box.asked[-1]["messages"] == [{"role": "user", "content": "And now?"}]


def test_who_waits_for_a_model_that_no_machine_can_hold_is_told_to_choose_another(
    box: ScriptedBox, page: Page
) -> None:
    told = {"error": {"message": "No node can run it.", "code": "model_fits_no_node"}}
    box.script = lambda _: stream([event(told)], place=1)
    ask(page, "The large one?")
    expect(last_answer(page).locator(".chat-trouble")).to_contain_text("Choose another one above")


def test_a_full_queue_is_asked_again_after_the_time_it_gave(box: ScriptedBox, page: Page) -> None:
    box.script = refusal(429, "queue_full", retry_after="2")
    ask(page, "Patient?")
    expect(last_answer(page)).to_contain_text("Yours is asked again in")
    assert len(box.asked) == 1
    box.script = saying("Patience pays")
    expect(prose(page)).to_have_text("Patience pays")
    assert len(box.asked) == 2


def test_waiting_for_the_queue_can_be_stopped(box: ScriptedBox, page: Page) -> None:
    box.script = refusal(503, "no_node", retry_after="60")
    ask(page, "Patient?")
    expect(last_answer(page)).to_contain_text("asked again in 60 s")
    page.get_by_role("button", name="Stop the answer").click()
    expect(last_answer(page)).to_have_attribute("data-state", "stopped")
    assert len(box.asked) == 1


def test_a_long_retry_after_disables_the_button_until_then(box: ScriptedBox, page: Page) -> None:
    box.script = refusal(429, "rate_limit_exceeded", retry_after="600")
    ask(page, "Now?")
    button = last_answer(page).locator("[data-action=retry]")
    expect(button).to_be_disabled()
    expect(button).to_contain_text("in 600 s")


def _dies(shown: threading.Event) -> Iterator[bytes]:
    yield chunk("The first half")
    shown.wait(10)
    raise ConnectionError("the node is gone")


def _error_event(shown: threading.Event) -> Iterator[bytes]:
    yield chunk("The first half")
    shown.wait(10)
    yield event({"error": {"message": "The node broke off.", "code": "answer_interrupted"}})


def _ends_without_done(shown: threading.Event) -> Iterator[bytes]:
    yield chunk("The first half")
    shown.wait(10)


@pytest.mark.parametrize("how", [_dies, _error_event, _ends_without_done])
def test_an_answer_that_breaks_off_keeps_its_text(box: ScriptedBox, page: Page, how: object) -> None:
    assert callable(how)
    shown = threading.Event()
    box.script = lambda _: stream(how(shown))
    ask(page, "Half?")
    expect(prose(page)).to_have_text("The first half")
    shown.set()
    expect(last_answer(page)).to_have_attribute("data-state", "interrupted")
    expect(prose(page)).to_have_text("The first half")
    box.script = saying(" and the second.")
    page.get_by_role("button", name="Continue").click()
    expect(prose(page)).to_have_text("The first half and the second.")
    expect(last_answer(page)).to_have_attribute("data-state", "complete")


def test_a_lost_network_is_named_and_tried_again(box: ScriptedBox, page: Page) -> None:
    page.context.set_offline(True)
    ask(page, "Anybody?")
    expect(last_answer(page)).to_contain_text("The box can’t be reached.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(answered(page).locator(".chat-prose")).to_have_text("Hello")


def test_too_long_moves_the_question_to_a_new_conversation(box: ScriptedBox, page: Page) -> None:
    ask(page, "Before")
    answered(page)
    box.script = refusal(400, "context_length_exceeded", "9000 tokens do not fit into 4096.")
    ask(page, "One too many")
    expect(last_answer(page)).to_contain_text("9000 tokens do not fit into 4096.")
    box.script = saying("Fresh")
    page.get_by_role("button", name="Ask it in a new conversation").click()
    expect(page.get_by_label("Your question", exact=True)).to_have_value("One too many")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(prose(page)).to_have_text("Fresh")
    assert box.asked[-1]["messages"] == [{"role": "user", "content": "One too many"}]


def test_signing_in_again_finds_the_conversations(box: ScriptedBox, page: Page) -> None:
    ask(page, "Remember me")
    answered(page)
    box.script = refusal(401, "invalid_api_key")
    ask(page, "Still there?")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.get_by_role("button", name="Sign in again").click()
    page.wait_for_url("**/sign-in?next=%2Fchat")
    page.context.add_cookies([{k: c[k] for k in ("name", "value", "domain", "path")} for c in cookies])  # type: ignore[misc]
    page.goto(f"{box.settings.base_url}/chat")
    expect(page.locator(".chat-bubble").first).to_have_text("Remember me")


def test_a_length_limit_is_told_and_continued(box: ScriptedBox, page: Page) -> None:
    box.script = lambda _: stream([chunk("One, two,"), ending(4, "length")])
    ask(page, "Count")
    expect(last_answer(page)).to_contain_text("The answer reached its length limit.")
    box.script = saying(" three.")
    page.get_by_role("button", name="Continue").click()
    expect(prose(page)).to_have_text("One, two, three.")


def test_the_length_of_the_queue_shows_while_a_question_waits_in_it(box: ScriptedBox, page: Page) -> None:
    db = open_activity(box.settings.state_dir)
    report = json.dumps({"queue_length": 3, "in_flight": {}, "max_queue": 256})
    with transaction(db):
        db.execute("INSERT OR REPLACE INTO node_reports VALUES ('pool', ?, ?)", [now(), report])
    taken = threading.Event()

    def queued(_: object) -> Response:
        assert taken.wait(10)
        return stream([chunk("My turn"), ending()], place=3)

    box.script = queued
    ask(page, "In the queue?")
    expect(last_answer(page)).to_contain_text("Questions in the queue: 3")
    taken.set()
    expect(prose(page)).to_have_text("My turn")
    expect(answered(page).locator(".chat-facts")).to_contain_text("Place in the queue")


def test_a_silent_wait_shows_that_it_waits(box: ScriptedBox, page: Page) -> None:
    gate = Gate()
    box.script = gate.between([], [chunk("At last"), ending()])
    ask(page, "Anyone?")
    expect(last_answer(page).locator(".chat-status")).to_be_visible()
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    gate.open()
    expect(prose(page)).to_have_text("At last")
