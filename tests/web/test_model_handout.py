"""How models travel to PCs: the admin's rules, all or nothing, and how far each PC is."""

import json

import pytest

from appliance.clock import now
from appliance.handout import HandoutChoice, HandoutTime
from appliance.models import held_models
from appliance.storage import read_choice
from tests.web.conftest import Site, Visitor
from tests.web.test_hardware import a_station

FORM = {
    "when": "outside_office_hours",
    "timezone": "Europe/Paris",
    **{f"hours_{day}": "09:00-17:30" if day < 5 else "" for day in range(7)},
    "box": "40",
    "receive": "12,5",
    "send": "0",
    "busy": "1",
    "keep_free": "20",
    "quota": "1,5",
}


def test_rules_are_kept_and_shown_again(site: Site, admin: Visitor) -> None:
    assert "No PC has a model of yours yet" in admin.get("/models/handout").text
    assert admin.post("/models/handout", FORM).status_code == 303
    choice = read_choice(site.db, HandoutChoice)
    assert (choice.when, choice.timezone) == (HandoutTime.OUTSIDE_OFFICE_HOURS, "Europe/Paris")
    assert choice.office_hours == ("09:00-17:30",) * 5 + ("", "")
    assert (choice.receive_bytes_per_second, choice.send_bytes_per_second) == (12_500_000, 0)
    assert (choice.keep_free_bytes, choice.quota_bytes) == (20_000_000_000, 1_500_000_000)
    page = admin.get("/models/handout").text
    assert 'value="1.5"' in page and 'value="20"' in page
    assert 'value="12.5"' in page and 'value="09:00-17:30"' in page


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"hours_0": "9-17"}, "Give hours as"),
        ({"timezone": "Mars/Base"}, "Give hours as"),
        ({"box": "fast"}, "Give speeds as numbers"),
        ({"busy": "-1"}, "Give speeds as numbers"),
        ({"keep_free": "much"}, "Give room as numbers of gigabytes"),
        ({"quota": "-1"}, "Give room as numbers of gigabytes"),
        ({"quota": "inf"}, "Give room as numbers of gigabytes"),
        ({"when": "never"}, "Give speeds as numbers"),
    ],
)
def test_what_can_not_be_taken_changes_nothing(
    site: Site, admin: Visitor, wrong: dict[str, str], sentence: str
) -> None:
    before = read_choice(site.db, HandoutChoice)
    answer = admin.post("/models/handout", FORM | wrong)
    assert answer.status_code == 400 and sentence in answer.text
    assert 'value="12,5"' in answer.text, "what was typed stays"
    assert read_choice(site.db, HandoutChoice) == before


def test_how_far_each_pc_is(site: Site, admin: Visitor) -> None:
    worker = a_station(site)
    [demo] = held_models(site.db)
    model = {"digest": demo.digest, "have_bytes": 5_000_000, "total_bytes": 20_000_000, "is_complete": False}
    model |= {"from_box_bytes": 1_000_000, "from_workers_bytes": 4_000_000, "trouble": "The disk is full."}
    report = json.dumps({"name": "CAD", "models": [model]})
    site.activity.table("node_reports").upsert({"node": worker, "at": now(), "report": report}, pk="node")
    page = admin.get("/models/handout").text.replace("\N{NO-BREAK SPACE}", " ")
    assert demo.name in page and "5.0 MB of 20.0 MB" in page and "80 %" in page
    assert "The disk is full." in page
