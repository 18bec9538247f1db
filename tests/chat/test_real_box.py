"""The page against the whole product: pool, engine and demo model as `./build.sh run` starts them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.people import Role, create_account, end_session
from appliance.storage import open_cellule
from tests.chat.reading import answered, ask, last_answer
from tests.conftest import free_port
from tests.supervisor.test_run import Run, running
from tests.waiting import wait_until

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def product(state: Path) -> Iterator[Run]:
    with running(free_port(), state) as run:
        create_account(open_cellule(state), "admin", PASSWORD, Role.ADMIN, "en")
        create_account(open_cellule(state), "marie", PASSWORD, Role.USER, "en")
        yield run


@pytest.fixture
def page(chromium: Browser, product: Run) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(product.facts["base_url"] + "/chat")
    page.get_by_label("Account name").fill("marie")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/chat")
    yield page
    context.close()


def words_of(text: str) -> list[str]:
    """The words of markdown or of what it looks like: the same, but for the marks of a list."""
    return [word for word in text.split() if word != "-"]


def test_a_suggested_question_is_answered_by_the_demo_model(page: Page) -> None:
    expect(page.locator("#chat-demo")).to_be_visible()
    page.get_by_role("button", name="What can you do?").click()
    answer = answered(page)
    # the same question on the same way, but not through the page's scripts
    body = page.evaluate(
        """question => fetch("/v1/chat/completions", {
            method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({
                model: "cellule-demo", stream: true, messages: [{role: "user", content: question}],
            })
        }).then(response => response.text())""",
        "What can you do?",
    )
    events = [line.removeprefix("data: ") for line in body.splitlines() if "choices" in line]
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    sent = "".join(delta.get("content") or "" for delta in deltas)
    assert words_of(answer.locator(".chat-prose").inner_text()) == words_of(sent)
    assert len(deltas) > 3, "it came in pieces"
    facts = answer.locator(".chat-facts-panel")
    for words in ("cellule-demo", "tokens/s", "First word after"):
        expect(facts).to_contain_text(words)


def test_a_question_beyond_the_context_names_both_numbers(page: Page) -> None:
    ask(page, "why " * 20_000)
    trouble = last_answer(page).locator(".chat-trouble")
    expect(trouble).to_have_attribute("data-kind", "too_long")
    detail = trouble.locator(".chat-trouble-detail").inner_text()
    assert len([word for word in detail.replace(",", "").split() if word.strip(".()").isdigit()]) >= 2, detail


def test_a_session_that_ended_asks_to_sign_in_again(state: Path, page: Page) -> None:
    ask(page, "Hello")
    answered(page)
    cookie = next(c for c in page.context.cookies() if c["name"] == "cellule_session")
    end_session(open_cellule(state), cookie["value"])
    status = (
        "() => fetch('/v1/models', {headers: {'content-type': 'application/json'}}).then((it) => it.status)"
    )
    wait_until(lambda: page.evaluate(status) == 401, within_seconds=2, what="the pool forgets the session")
    ask(page, "Still there?")
    expect(last_answer(page).locator(".chat-trouble")).to_have_attribute("data-kind", "signed_out")


def test_no_prompt_is_left_in_storage_or_logs(state: Path, page: Page) -> None:
    ask(page, "Tell me about the quokkasaurus")
    answered(page)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert not [path for path in files if b"quokkasaurus" in path.read_bytes()]
