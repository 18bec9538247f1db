"""An admin gives the box a fixed address: one that cuts everybody off is undone, a good one stays."""

import re
import time

import httpx2 as httpx
import pytest

from tests.image.box import Box
from tests.image.listening import Eavesdropper
from tests.image.visitor import Visitor

pytestmark = pytest.mark.timeout(1500)

ELSEWHERE, ITS_GATEWAY = "192.168.77.20", "192.168.77.1"
"""A network that nobody here is in."""
FIXED = "10.99.0.50"
COUNTDOWN_SECONDS = 90.0
SLOW_SECONDS = 90.0
"""What an emulated machine, on a computer with other work, may take until it has changed its network."""


def test_a_network_that_cuts_everybody_off_is_undone_after_ninety_seconds(claimed: Box) -> None:
    by_dhcp = claimed.address
    with Visitor(claimed) as ada:
        ada.sign_in()
        _set_network(ada, f"{ELSEWHERE}/24", ITS_GATEWAY)
        claimed.wait_until(lambda: not _answers(ada), "the box has left its address", timeout=SLOW_SECONDS)
        left = time.monotonic()
        claimed.wait_for_screen(re.escape(f"https://{ELSEWHERE}/"), timeout=SLOW_SECONDS)
        limit = COUNTDOWN_SECONDS + SLOW_SECONDS
        claimed.wait_until(lambda: _answers(ada), "the box is back at its address", timeout=limit)
        away = time.monotonic() - left
        print(f"cut off for {away:.0f} s")
        # a little is gone by the time that the first question went without an answer
        assert COUNTDOWN_SECONDS - 15 < away < limit
        assert "The change was undone" in ada.http.get("/machine/change").text
        assert re.search(r'value="dhcp" checked', ada.http.get("/machine").text)
    claimed.wait_for_screen(re.escape(f"https://{by_dhcp}/"), timeout=60)


def test_a_good_one_is_kept_from_the_new_address(claimed: Box) -> None:
    with Visitor(claimed) as ada:
        ada.sign_in()
        _set_network(ada, f"{FIXED}/24", "10.99.0.1")
    with Visitor(claimed, address=FIXED) as ada:
        claimed.wait_until(lambda: _answers(ada), "the certificate names the new address", timeout=60)
        ada.sign_in()
        shown = ada.http.get("/machine/change").text
        change = re.search(r'name="change" value="([0-9a-f]+)"', shown)
        assert change, shown
        kept = ada.submit("/machine/change", "/machine/change/keep", change=change[1])
        assert kept.status_code == httpx.codes.OK and "The change is kept" in kept.text
    claimed.wait_for_screen(re.escape(f"https://{FIXED}/"), timeout=60)


def test_it_stays_through_a_power_cut_and_no_address_is_asked_for(claimed: Box) -> None:
    claimed.pull_the_cord()
    with Eavesdropper(claimed.office, claimed.mac) as ear:
        claimed.start()
        with Visitor(claimed, address=FIXED) as ada:
            ada.sign_in()
            assert f"{FIXED}/24" in ada.http.get("/machine").text
        assert "DHCP" not in {each.kind for each in ear.heard(ear.started_at)}


def _set_network(visitor: Visitor, address: str, gateway: str) -> None:
    begun = visitor.submit(
        "/machine", "/machine/network", follow=False, interface="", method="static", address=address,
        gateway=gateway, dns="",
    )  # fmt: skip
    assert begun.status_code == httpx.codes.SEE_OTHER, begun.text[:2000]
    assert begun.headers["location"].endswith("/machine/change")


def _answers(visitor: Visitor) -> bool:
    try:
        answer = httpx.get(f"{visitor.url}/health/live", verify=visitor.trust, timeout=3)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK
