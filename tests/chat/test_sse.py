"""The event-stream parser, in the browser that runs it: wherever bytes are cut, the events are the same."""

import base64

import pytest
from playwright.sync_api import Page

PARSE_AT_EVERY_CUT = """async ({ body, address }) => {
    const { EventStreamParser } = await import(address);
    const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    const seen = new Set();
    for (let first = 0; first <= bytes.length; first++) {
        for (let second = first; second <= bytes.length; second += 1 + (second % 3)) {
            const parser = new EventStreamParser();
            const pieces = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
            seen.add(JSON.stringify(pieces.flatMap((piece) => parser.push(piece))));
        }
    }
    return [...seen].map((events) => JSON.parse(events));
}"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_cuts_change_nothing(page: Page, line_end: str) -> None:
    lines = [
        "﻿: comment",
        "data: été 🖨",
        "",
        "event: error",
        "data:a",
        "data",
        "data:  b: c",
        "",
        "",
        "id: 1",
        "",
    ]
    body = base64.b64encode(line_end.join([*lines, "data: cut off"]).encode()).decode()
    address = "/static/chat/sse.js"
    assert page.evaluate(PARSE_AT_EVERY_CUT, {"body": body, "address": address}) == [
        [{"event": "message", "data": "été 🖨"}, {"event": "error", "data": "a\n\n b: c"}]
    ]
