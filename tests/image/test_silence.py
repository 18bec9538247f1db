"""An idle box is silent: nothing leaves it but what the table of `listening` allows, with its reasons."""

from collections import Counter

import pytest

from tests.image.leaving_alone import LeftAlone
from tests.image.listening import ALLOWED
from tests.image.visitor import Visitor

pytestmark = pytest.mark.timeout(1800)

IDLE_SECONDS = 600.0


def test_nothing_but_arp_dhcp_and_mdns_leaves_a_box_that_idles_for_ten_minutes(left_alone: LeftAlone) -> None:
    box, ear = left_alone.box, left_alone.ear
    asked = Counter(each.kind.partition(" ")[0] for each in ear.heard(ear.started_at))
    assert asked["TCP"] > 10, "who did not hear it talk would not hear it now"
    box.wait_until(
        lambda: left_alone.idle_seconds >= IDLE_SECONDS, "ten minutes are over", timeout=IDLE_SECONDS + 10
    )
    said = Counter(each.kind for each in ear.heard(left_alone.since))
    print(f"in {left_alone.idle_seconds:.0f} s idle it sent: {dict(said) or 'nothing'}")
    assert not said.keys() - ALLOWED.keys()
    # it was idle, not dead
    with Visitor(box) as ada:
        ada.sign_in()
        assert ada.http.get("/health/ready").json()["ready"]
