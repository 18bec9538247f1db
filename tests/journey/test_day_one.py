"""Day one: plug in, claim, make a key, take two office PCs in, chat, lose one of them, cut the other off.

A box, two PCs and a client, each in a network namespace of its own on one LAN; every process is the
product's, the browser is Chromium, the API's client is the official one. The steps build on each other,
so they stand in one test, told in order.
"""

import json
import os
import re
import signal
import socket
import ssl
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from openai import DefaultHttpxClient, OpenAI
from playwright.sync_api import Page, Playwright, expect, sync_playwright

from appliance.settings import WORKER_ENGINE_PORT
from appliance.storage import open_activity, open_cellule
from tests.netlab import Lab
from tests.waiting import wait_until

PORT = 8443
PASSWORD = "a long enough sentence"
MODEL = "cellule-demo"
END_OF_ANSWER = 2  # the demo model's end token, forbidden where an answer must be long
REVOKED_EXIT_CODE = 3
AT_ONCE = 32
QUESTIONS = 2 + 1 + AT_ONCE
"""In the chat page, streamed with the official client, at once."""
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@dataclass
class Box:
    """The box, seen from the lab."""

    lab: Lab
    state: Path
    facts: dict[str, str]

    @property
    def url(self) -> str:
        return self.facts["base_url"]

    def engine(self) -> psutil.Process:
        """The box's own engine process."""
        processes = [psutil.Process(pid) for pid in self.lab.pids("box")]
        return next(process for process in processes if "appliance.engines" in " ".join(process.cmdline()))

    def trust(self) -> ssl.SSLContext:
        """What a program of the company trusts: the box's certificate and nothing else."""
        context = ssl.create_default_context(cafile=next((self.state / "secrets").glob("*.crt")))
        context.check_hostname = False  # the lab's addresses came after the certificate
        return context


@dataclass
class Counts:
    """Requests and tokens of one node, as the ledger or as its engine counts them."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass
class Pc:
    """An office PC that joins."""

    lab: Lab
    name: str
    folder: Path

    id: str = ""
    tunnel_address: str = ""

    def join(self, code: str) -> str:
        """Starts the agent and returns the short code that it shows."""
        code_file = self.folder / "code"
        code_file.touch(mode=0o600)
        code_file.write_text(code)
        argv = [sys.executable, "-m", "appliance.worker", "join", "--code-file", str(code_file)]
        argv += ["--state", str(self.folder / "state"), "--interface", self.lab.tunnel_name(self.name)]
        self.agent = self.lab.popen(self.name, argv)
        shown = wait_until(
            lambda: re.search(r"\|\s+(\d{3} \d{3})\s+\|", self.lab.log(self.agent)),
            within_seconds=30,
            what=f"{self.name} shows its short code",
        )
        return shown[1].replace(" ", "")


def start_box(lab: Lab, state: Path) -> Box:
    argv = [sys.executable, "-m", "appliance.supervisor", "--lan", "--port", str(PORT), "--state", str(state)]
    process = lab.popen("box", argv, {"CELLULE_WIREGUARD_INTERFACE": lab.tunnel_name("box")})
    ready = wait_until(
        lambda: re.search(r"^ready (.*)$", lab.log(process), re.MULTILINE), within_seconds=90, what="ready"
    )
    box = Box(lab, state, json.loads(ready[1]))
    assert box.url == f"https://{lab.address('box')}:{PORT}", "the ready line tells where the LAN reaches it"
    return box


@pytest.mark.root
@pytest.mark.timeout(300)
def test_day_one(tmp_path: Path) -> None:
    with Lab("box", "pc1", "pc2", "client") as lab:
        box = start_box(lab, tmp_path / "box")
        with lab.inside("client"), sync_playwright() as playwright:
            live_the_day(box, open_browser(playwright, tmp_path / "browser"), tmp_path)


def live_the_day(box: Box, page: Page, folder: Path) -> None:
    """Every step, in order."""
    claim(page, box)
    key = make_key(page, box)
    first, second = (take_in(page, box, Pc(box.lab, name, folder / name)) for name in ("pc1", "pc2"))
    chat(page, box)
    client = OpenAI(
        base_url=f"{box.url}/v1",
        api_key=key,
        max_retries=0,
        http_client=DefaultHttpxClient(verify=box.trust()),
    )

    box.engine().send_signal(signal.SIGSTOP)
    assert stream_through_a_worker(client) in {first.name, second.name}
    answers = ask_many_and_lose_one(client, box, first)
    assert len(answers) == AT_ONCE and all(answers), "no answer is lost with the PC that gave it"
    box.engine().send_signal(signal.SIGCONT)

    check_ledger(box, second)
    page.goto(f"{box.url}/overview")
    photograph(page, "overview")
    revoke(page, box, second)
    photograph_phone(page, box)


def photograph(page: Page, name: str) -> None:
    """A picture for the README where CELLULE_PICTURES names a folder; nothing otherwise."""
    folder = os.environ.get("CELLULE_PICTURES")
    if folder:
        page.wait_for_timeout(1500)  # charts and badges come alive
        page.screenshot(path=Path(folder) / f"{name}.png")


def photograph_phone(page: Page, box: Box) -> None:
    """The chat as an employee with a French phone meets it."""
    if not os.environ.get("CELLULE_PICTURES"):
        return
    page.context.add_cookies([{"name": "cellule_language", "value": "fr", "url": box.url}])
    page.set_viewport_size({"width": 390, "height": 780})
    page.evaluate("sessionStorage.clear()")
    page.goto(f"{box.url}/chat")
    page.locator("#chat-question").fill("Qu'est-ce qu'un poste de travail ?")
    page.locator("[name=send]").click()
    expect(page.locator("#chat-messages")).to_contain_text(".", timeout=30_000)
    photograph(page, "phone")


def open_browser(playwright: Playwright, profile: Path) -> Page:
    context = playwright.chromium.launch_persistent_context(
        profile, executable_path="/usr/bin/chromium", args=CHROMIUM, ignore_https_errors=True, locale="en-GB"
    )
    context.set_default_timeout(20_000)
    return context.pages[0]


def claim(page: Page, box: Box) -> None:
    page.goto(box.url)
    page.get_by_label("Claim code").fill(box.facts["claim_code"])
    page.get_by_label("Account name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Claim this box").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def make_key(page: Page, box: Box) -> str:
    page.goto(f"{box.url}/keys")
    page.get_by_label("What is it for?").fill("day one")
    page.get_by_role("button", name="Make a key").click()
    return page.locator("#api-key").inner_text().strip()


def take_in(page: Page, box: Box, pc: Pc) -> Pc:
    """Invites, joins by mDNS, compares the short codes, approves, and waits until the PC can answer."""
    pc.folder.mkdir()
    page.goto(f"{box.url}/workers")
    page.get_by_label("Which PC?").fill(pc.name)
    page.get_by_role("button", name="Make an invitation").click()
    short_code = pc.join(page.locator("#invitation-code").inner_text().strip())
    # the page shows the new PC by itself
    pending = page.locator("article.pending")
    expect(pending.locator(".short-code strong")).to_have_text(
        re.compile(rf"{short_code[:3]}\s?{short_code[3:]}")
    )
    pending.scroll_into_view_if_needed()
    photograph(page, "workers")
    pending.get_by_role("button", name="The codes match: approve").click()
    row = page.locator(
        "#fleet + .table-wrap tr", has_text=re.compile(r"10\.77\."), has=page.locator(".badge--ok")
    )
    expect(row).to_have_count(int(pc.name[-1]), timeout=30_000)
    with open_cellule(box.state) as database:
        newest = next(database["workers"].rows_where(order_by="approved_at DESC", limit=1))
    assert newest["name"] == pc.name
    pc.id, pc.tunnel_address = newest["id"], newest["tunnel_address"]
    return pc


def chat(page: Page, box: Box) -> None:
    page.goto(f"{box.url}/chat")
    page.get_by_label("Your question").fill("What is a worker?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#chat-messages")).to_contain_text("worker", timeout=30_000)
    page.get_by_label("Your question").fill("How do I use the API from Python?")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=30_000)
    photograph(page, "chat")


def stream_through_a_worker(client: OpenAI) -> str:
    """A streamed answer; returns the node that gave it."""
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "What is a worker?"}], temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content for chunk in raw.parse() if chunk.choices]
    assert len("".join(piece or "" for piece in pieces)) > 20 and len(pieces) > 5
    return raw.headers["x-cellule-node"]


def ask_many_and_lose_one(client: OpenAI, box: Box, pc: Pc) -> list[str]:
    """Long answers at once, and the power cord of `pc` pulled once it works on some of them.

    Its end of the tunnel dies with it, so no connection is closed: it falls silent, and after 15 s what
    it had is answered elsewhere.
    """

    def ask(number: int) -> str:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"Question {number}: what is a worker?"}],
            max_tokens=400,
            logit_bias={str(END_OF_ANSWER): -100},
        )
        assert answer.usage and answer.usage.completion_tokens == 400
        return answer.choices[0].message.content or ""

    with ThreadPoolExecutor(AT_ONCE) as threads:
        asking = [threads.submit(ask, number) for number in range(AT_ONCE)]
        wait_until(lambda: _busy(box, pc) > 0, within_seconds=20, what="it works on some")
        for pid in pc.lab.pids(pc.name):
            os.kill(pid, signal.SIGKILL)
        return [future.result() for future in asking]


def _busy(box: Box, pc: Pc) -> int:
    """Answers that a PC's engine works on, read through the tunnel from the box."""
    metrics = f"http://{pc.tunnel_address}:{WORKER_ENGINE_PORT}/metrics"
    with box.lab.inside("box"), urllib.request.urlopen(metrics, timeout=5) as answer:
        text = answer.read().decode()
    return sum(
        int(float(value)) for value in re.findall(r"^cellule_engine_busy_slots(?:\{.*\})? (\S+)$", text, re.M)
    )


def _engine_counts(pc: Pc) -> Counts:
    """What the engine of a PC counted of employees' requests, each told in a line of its log.

    The box's own questions (health check, benchmark), whenever they come, carry no number of the gateway's.
    """
    answered = re.findall(
        r"request req-\S+ \S+ answered prompt_tokens=(\d+) generated_tokens=(\d+)", pc.lab.log(pc.agent)
    )
    return Counts(
        len(answered), sum(int(tokens) for tokens, _ in answered), sum(int(tokens) for _, tokens in answered)
    )


def check_ledger(box: Box, pc: Pc) -> None:
    """One line for each question asked, and of a node just what its engine counted itself."""

    def ledger(node: str = "%") -> Counts:
        with open_activity(box.state) as activity:
            row = activity.execute(
                "SELECT count(*), sum(tokens_in), sum(tokens_out) FROM ledger"
                " WHERE node LIKE ? AND outcome = 'answered'",
                [node],
            ).fetchone()
        return Counts(*row)

    wait_until(
        lambda: ledger(pc.id) == _engine_counts(pc),
        within_seconds=5,
        what=f"{ledger(pc.id)} in the ledger is what the engine counted: {_engine_counts(pc)}",
    )
    assert ledger(pc.id).requests > 16
    assert ledger().requests == QUESTIONS
    with open_activity(box.state) as activity:
        assert activity.table("ledger").count == QUESTIONS, "no line twice, none of another outcome"


def revoke(page: Page, box: Box, pc: Pc) -> None:
    """Cut within two seconds: nothing of the PC answers through the tunnel, and its agent ends by itself."""
    page.goto(f"{box.url}/workers")
    row = page.locator("tr", has_text=pc.tunnel_address)
    row.get_by_role("button", name="Revoke").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator("tr", has_text=pc.tunnel_address)).to_have_count(0)
    wait_until(lambda: not _reachable(box, pc), within_seconds=2, what="the tunnel is cut")
    assert pc.agent.wait(60) == REVOKED_EXIT_CODE


def _reachable(box: Box, pc: Pc) -> bool:
    with box.lab.inside("box"), socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex((pc.tunnel_address, WORKER_ENGINE_PORT)) == 0
