"""The page of the machines: what each is, why, and whether its models are well."""

import json
import re
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
from tests.web import planted_fleet
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
    (step,) = re.findall(r'href="(/models#model-[^"]*)">Check its files on Models', page)
    assert step == "/models#model-mute", "a model that is well needs no next step"
    french = admin.get("/hardware", headers={"Accept-Language": "fr"}).text
    assert "La réponse était vide." in french or "The answer was empty." in french


def test_a_machine_on_which_nothing_can_compute_says_why(site: Site, admin: Visitor) -> None:
    facts = MachineFacts(architecture="riscv64", processor={"name": "SiFive"}, memory_bytes=8 << 30)
    keep_hardware(site.activity, BOX_NODE, facts, now())
    assert "Nothing here can compute answers." in admin.get("/hardware").text


def test_what_a_machine_calls_itself_is_text(site: Site, admin: Visitor) -> None:
    keep_hardware(site.activity, BOX_NODE, MachineFacts(model="<script>alert(1)</script>"), now())
    assert "<script>alert" not in admin.get("/hardware").text


SERVER = {
    "kind": "llama-server",
    "port": 8080,
    "slots": 4,
    "models": [{"id": "Qwen/Qwen3-8B", "context_tokens": 32768}],
}


def a_station(site: Site, **server: object) -> str:
    """A worker that reports a server of its owner's."""
    site.db.table("invitations").insert({"id": "i", "label": "CAD", "created_at": 1, "expires_at": 2})
    worker = {"id": "w1", "name": "CAD", "public_key": "k", "invitation_id": "i", "state": "approved"}
    site.db.table("workers").insert(
        {**worker, "short_code": "1", "poll_key": b"k", "facts": '{"name": "CAD"}', "created_at": 1.0}
    )
    report = json.dumps({"name": "CAD", "found_servers": [{**SERVER, **server}]})
    site.activity.table("node_reports").insert({"node": "w1", "at": now(), "report": report})
    return "w1"


def test_a_server_that_runs_already_is_adopted_under_a_name_and_released(site: Site, admin: Visitor) -> None:
    worker = a_station(site)
    page = admin.get("/hardware").text
    assert "Qwen/Qwen3-8B" in page and 'value="qwen3-8b"' in page
    form = {"port": "8080", "model": "Qwen/Qwen3-8B", "name": "qwen3-8b"}
    assert admin.post(f"/hardware/{worker}/adopt", form).status_code == 303
    page = admin.get("/hardware").text
    assert (
        "adopted" in page
        and "http://127.0.0.1:8080" in page
        and 'action="/hardware/w1/adopt#node-w1"' not in page
    )
    assert admin.post(f"/hardware/{worker}/release", {"name": "qwen3-8b"}).status_code == 303
    assert 'action="/hardware/w1/adopt#node-w1"' in admin.get("/hardware").text
    events = [row["event"] for row in site.activity["audit"].rows]
    assert events[-2:] == ["admin:server:adopted", "admin:server:released"]


def test_what_can_not_be_adopted_is_said_where_it_was_asked(site: Site, admin: Visitor) -> None:
    worker = a_station(site, needs_key=True)
    for form, sentence in (
        ({"port": "9", "model": "x", "name": "x"}, "no server on its port 9"),
        ({"port": "8080", "model": "Qwen/Qwen3-8B", "name": "q"}, "wants a key"),
        ({"port": "8080", "model": "Qwen/Qwen3-8B", "name": "a b", "key_file": "/k"}, "be a model"),
    ):
        answer = admin.post(f"/hardware/{worker}/adopt", form)
        assert answer.status_code in {400, 404} and sentence in answer.text
        form_of_it = answer.text.partition('action="/hardware/w1/adopt#node-w1"')[2].partition("</form>")[0]
        assert form["port"] == "9" or (sentence in form_of_it and f'value="{form["name"]}"' in form_of_it)
    assert 'value="/k"' in form_of_it, "what was typed is kept"
    assert site.db["adopted_servers"].count == 0


def test_an_engine_of_a_worker_that_ends_by_itself_is_told(site: Site, admin: Visitor) -> None:
    a_station(site)
    said = "It ended with status 1: llama.cpp finds no vulkan device here, only CPU."
    ending = {"at": now(), "said": said, "restarts": 2, "is_running": False}
    engine = {"model": "q", "ready": False, "slots": 4, "port": 8000, "trouble": said, "ending": ending}
    report = json.dumps({"name": "CAD", "engines": [engine]})
    version = admin.get("/hardware.json").get_json()["version"]
    site.activity.table("node_reports").upsert({"node": "w1", "at": now(), "report": report}, pk="node")
    assert admin.get("/hardware.json").get_json()["version"] != version
    page = admin.get("/hardware").text
    assert "was started again 2 times." in page and said in page
    admin.post("/language", {"language": "fr"})
    assert "llama.cpp ne trouve ici aucun périphérique vulkan" in admin.get("/hardware").text


def test_the_trouble_of_an_adopted_server_is_told(site: Site, admin: Visitor) -> None:
    worker = a_station(site)
    admin.post(f"/hardware/{worker}/adopt", {"port": "8080", "model": "Qwen/Qwen3-8B", "name": "q"})
    engines = [{"model": "q", "ready": False, "slots": 4, "port": 8000, "trouble": "It answers nonsense."}]
    report = json.dumps({"name": "CAD", "engines": engines})
    site.activity.table("node_reports").upsert({"node": "w1", "at": now(), "report": report}, pk="node")
    assert "It answers nonsense." in admin.get("/hardware").text


def test_a_silent_pc_and_a_crashed_engine_are_told_with_what_to_do(site: Site, admin: Visitor) -> None:
    planted_fleet.live(site.settings, site.db, site.activity)
    page = admin.get("/hardware").text.replace("\N{NO-BREAK SPACE}", " ")
    assert "It does not report any more; what stands here is what it told last." in page
    assert "ended by itself" in page and "failed to allocate 4200.00 MiB" in page
    assert "keep the model off this machine, or take a smaller one" in page
    assert "8 × 75.9 GB" in page and "a server of its owner · vllm" in page
