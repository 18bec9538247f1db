"""A PC of the office joins a claimed box, answers for it, and is taken out again.

The PC is a network namespace with the product's own agent in it. The box's end of the tunnel is its kernel's:
the image holds no other WireGuard.
"""

import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.settings import TUNNEL_BOX_ADDRESS, WORKER_ENGINE_PORT
from tests.image.box import Box
from tests.image.office import Office
from tests.image.visitor import Visitor
from tests.image.works import Works
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(1500)

LABEL = "Reception"
REVOKED_EXIT_CODE = 3


@dataclass
class Reception:
    """The PC at the reception, its agent in a folder of its own."""

    office: Office
    folder: Path
    name: str = "pc"
    agent: subprocess.Popen[bytes] = field(init=False)

    def join(self, code: str) -> str:
        """Starts the agent, which finds the box by mDNS; the short code that its screen shows."""
        code_file = self.folder / "code"
        code_file.touch(mode=0o600)
        code_file.write_text(code)
        self.agent = self.office.popen(
            self.name, [*self._agent("join"), "--code-file", str(code_file), "--interface", self._interface]
        )
        shown = wait_until(
            lambda: re.search(r"\|\s+(\d{3}) (\d{3})\s+\|", self.office.log(self.agent)),
            within_seconds=60,
            what="the PC shows its short code",
        )
        return shown[1] + shown[2]

    def status(self) -> str:
        return self.office.run(self.name, self._agent("status")).stdout

    @property
    def tunnel_address(self) -> str:
        shown = re.search(r"tunnel address: (\S+)", self.status())
        assert shown, self.status()
        return shown[1]

    def answered(self) -> int:
        """How many questions its engine counts."""
        with (
            self.office.inside(self.name),
            urllib.request.urlopen(
                f"http://{self.tunnel_address}:{WORKER_ENGINE_PORT}/metrics", timeout=5
            ) as answer,
        ):
            text = answer.read().decode()
        counted = re.findall(r"^cellule_engine_requests_total(?:\{.*\})? ([\d.e+]+)$", text, re.MULTILINE)
        return int(sum(map(float, counted)))

    def reaches(self, port: int) -> bool:
        """Whether the box accepts at its own address in the tunnel."""
        with self.office.inside(self.name), socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex((TUNNEL_BOX_ADDRESS, port)) == 0

    @property
    def _interface(self) -> str:
        return self.office.tunnel_name(self.name)

    def _agent(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "appliance.worker", verb, "--state", str(self.folder / "state")]


@pytest.fixture(scope="module")
def pc(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Reception:
    return Reception(office, tmp_path_factory.mktemp("pc"))


@pytest.fixture(scope="module")
def key(claimed: Box) -> str:
    """An API key of the company's ticket system."""
    with Visitor(claimed) as ada:
        ada.sign_in()
        return ada.make_key("Ticket system")


def test_it_is_invited_compared_and_approved_on_the_page(claimed: Box, pc: Reception) -> None:
    with Visitor(claimed) as ada:
        ada.sign_in()
        made = ada.submit("/workers", "/workers/invitations", label=LABEL, valid_for="900")
        code = re.search(r'id="invitation-code">([^<]+)<', made.text)
        assert code, made.text[:3000]
        on_screen = pc.join(code[1])
        page = ada.http.get("/workers").text
        waiting = re.search(r'class="short-code">.*?<strong class="mono">(\d{6})</strong>', page)
        approval = re.search(r'action="(/workers/[^/"]+/approve)"', page)
        assert waiting and approval, page
        assert waiting[1] == on_screen
        ada.submit("/workers", approval[1], short_code=on_screen)
        claimed.wait_until(lambda: "badge--ok" in _fleet(ada), "the page shows it ready", timeout=120)
        assert LABEL in _fleet(ada) and pc.tunnel_address in _fleet(ada)


def test_the_tunnel_ends_in_the_kernel_of_the_box(works: Works, pc: Reception) -> None:
    assert re.search(r"last handshake: \d+ s ago", pc.status())
    assert pc.reaches(443)
    root = works.out / "work" / "root" / "usr"
    programs = {each.name for folder in ("bin", "sbin") for each in (root / folder).iterdir()}
    assert "wg" in programs
    assert not [name for name in programs if "wireguard" in name], "another one than the kernel's"


def test_a_question_is_answered_by_the_worker(claimed: Box, pc: Reception, key: str) -> None:
    with Visitor(claimed) as ada:
        # an emulated box is slower than any PC, once the pool has measured both
        claimed.wait_until(lambda: _ask(ada, key)[0] == LABEL, "the PC answers", timeout=120)
        before = pc.answered()
        node, answer = _ask(ada, key)
    assert node == LABEL
    assert pc.answered() == before + 1, "its engine counts it too"
    assert len(answer.split()) > 3


def test_a_worker_that_lifts_its_own_rules_still_reaches_nothing_but_the_front(pc: Reception) -> None:
    # its agent puts the rules back within ten seconds
    pc.office.run(pc.name, ["nft", "flush", "ruleset"])
    assert pc.reaches(443)
    assert not pc.reaches(80), "open on the LAN, not in the tunnel"


def test_revoked_on_the_page_it_is_cut_off_and_the_box_goes_on_alone(
    claimed: Box, pc: Reception, key: str
) -> None:
    with Visitor(claimed) as ada:
        ada.sign_in()
        revoking = re.search(r'action="(/workers/[^/"]+/revoke)"', _fleet(ada))
        assert revoking, _fleet(ada)
        ada.submit("/workers", revoking[1])
        started = time.monotonic()
        wait_until(lambda: not pc.reaches(443), within_seconds=10, what="the tunnel is cut")
        print(f"revoked to cut: {time.monotonic() - started:.1f} s")
        assert pc.agent.wait(90) == REVOKED_EXIT_CODE
        assert "taken out of the fleet" in pc.office.log(pc.agent)
        assert "No worker yet" in _fleet(ada)
        assert _ask(ada, key)[0] == "box"


def _fleet(visitor: Visitor) -> str:
    """The part of the page that lists who belongs to the fleet."""
    return visitor.http.get("/workers").text.partition('id="fleet"')[2]


def _ask(visitor: Visitor, key: str) -> tuple[str, str]:
    """The node that answered, and its answer."""
    raw = visitor.client(key).chat.completions.with_raw_response.create(
        model="cellule-demo", messages=[{"role": "user", "content": "What is a worker?"}], temperature=0
    )
    return raw.headers["x-cellule-node"], raw.parse().choices[0].message.content or ""
