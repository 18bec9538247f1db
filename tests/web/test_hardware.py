"""The page of the machines: what each is, why, and whether its models are well."""

from pathlib import Path

from appliance.clock import now
from appliance.hardware import (
    HealthRecord,
    MachineFacts,
    keep_hardware,
    keep_health,
    own_hardware,
)
from appliance.hardware.places import SHIPPED
from appliance.settings import BOX_NODE
from tests.web.conftest import Site, Visitor

MACHINES = Path(__file__).parents[1] / "hardware" / "machines"


def test_a_box_that_has_not_told_yet_says_so(site: Site, admin: Visitor) -> None:
    page = admin.get("/hardware").text
    assert "It has not told yet what it is." in page
    assert "Only this box so far" in page


def test_the_profile_its_reasons_and_health_are_shown(site: Site, admin: Visitor) -> None:
    facts = MachineFacts.model_validate_json((MACHINES / "lunar-lake-laptop.json").read_text())
    report = own_hardware([SHIPPED], facts)
    assert report.chosen
    keep_hardware(site.activity, BOX_NODE, facts, now())
    for model, ok, sentence in (
        ("qwen3", True, "It answered as expected in 1.2 s."),
        ("mute", False, "The answer was empty."),
    ):
        keep_health(site.activity, HealthRecord(BOX_NODE, model, now(), ok, 1.2, sentence))
    page = admin.get("/hardware").text
    assert report.chosen.title in page and "openvino" in page
    assert "Why not the other" in page and "comes before it." in page
    assert "not well" in page and "The answer was empty." in page
    french = admin.get("/hardware", headers={"Accept-Language": "fr"}).text
    assert "La réponse était vide." in french or "The answer was empty." in french


def test_a_machine_on_which_nothing_can_compute_says_why(site: Site, admin: Visitor) -> None:
    facts = MachineFacts(architecture="riscv64", processor={"name": "SiFive"}, memory_bytes=8 << 30)
    keep_hardware(site.activity, BOX_NODE, facts, now())
    assert "Nothing here can compute answers." in admin.get("/hardware").text


def test_what_a_machine_calls_itself_is_text(site: Site, admin: Visitor) -> None:
    keep_hardware(site.activity, BOX_NODE, MachineFacts(model="<script>alert(1)</script>"), now())
    assert "<script>alert" not in admin.get("/hardware").text
