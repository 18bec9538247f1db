"""What the tests do and see on the chat page."""

from playwright.sync_api import Locator, Page


def ask(page: Page, question: str) -> None:
    """Types the question and sends it as a person would."""
    page.get_by_label("Your question", exact=True).fill(question)
    page.keyboard.press("Enter")


def last_answer(page: Page) -> Locator:
    """The newest answer with all that belongs to it."""
    return page.locator("[data-role=assistant]").last


def prose(page: Page) -> Locator:
    """The text of the newest answer."""
    return last_answer(page).locator(".chat-prose")


def answered(page: Page) -> Locator:
    """The newest answer, once it is complete."""
    page.locator("[data-role=assistant][data-state=complete]").last.wait_for()
    return last_answer(page)
