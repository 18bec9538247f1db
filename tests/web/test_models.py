"""The pages of the models without a browser's scripts: every form, every refusal beside what caused it."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.clock import now
from appliance.host import Host
from appliance.models import (
    CarriedOrder,
    ModelsChoice,
    Weights,
    ask_get,
    engine_path,
    held_model,
    held_models,
    list_aliases,
    list_gets,
    move_alias,
)
from appliance.models.checks import follow_checks
from appliance.models.following import follow_gets
from appliance.placement import read_placement
from appliance.storage import read_choice
from tests.web import planted_fleet
from tests.web.conftest import STICK_NAME, Site, Visitor, allow_internet
from webadmin import create_app


def taken_in(site: Site, machine: Host, name: str, entry: str = "") -> None:
    """A model from the stick, as after the form."""
    order = CarriedOrder(origin="stick", path=STICK_NAME, entry=entry)
    ask_get(site.settings, site.db, site.activity, name, order, by="ana", at=now())
    follow_gets(site.settings, machine)
    assert held_model(site.db, name).name == name


def test_a_box_with_its_demo_alone_says_what_to_do(admin: Visitor) -> None:
    page = admin.get("/models").text
    assert "Only the demo model so far" in page
    assert "It is part of the appliance and can't be removed." in page
    refused = admin.post("/models/remove", {"name": "cellule-demo"})
    assert refused.status_code == 409
    assert "cellule-demo is part of the appliance and stays." in refused.text
    assert re.search(r"MB · [\d.]+\xa0[BMK] parameters<", page), "what the second figure is of"


def test_a_stick_is_looked_at_and_one_model_chosen(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    listed = admin.post("/models/bring/look", {"origin": "stick"}).text
    assert STICK_NAME in listed
    wrong = admin.post("/models/bring/carried", {"origin": "stick", "path": STICK_NAME, "name": "a b"})
    assert wrong.status_code == 400
    assert "A name has 1 to 64 letters" in wrong.text
    form = {"origin": "stick", "path": STICK_NAME, "name": "tiny", "entry": "tiny-chat"}
    assert admin.post("/models/bring/carried", form).location == "/models"
    assert "waits its turn" in admin.get("/models").text
    follow_gets(site.settings, machine)
    page = admin.get("/models").text
    for words in ("tiny-Q8_0.gguf on a USB stick", "Tiny Chat 4M", "On disk", "Needs", "apache-2.0", "Tools"):
        assert words in page, words
    assert "Weights: 0.00 billion parameters" in page


def test_weights_for_npus_are_a_choice_where_the_box_converts(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    safetensors = stick / "office"
    safetensors.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (safetensors / name).write_text("{}")
    settings = site.settings.model_copy(update={"converter": Path(sys.executable)})
    assert admin.account
    converting = replace(site, settings=settings, app=create_app(settings)).signed_in(admin.account)
    page = converting.post("/models/bring/look", {"origin": "stick"}).text
    assert "4 bits for NPUs: one scale for each row" in page
    form = {"origin": "stick", "path": "office", "name": "office", "weights": "int4-cw"}
    assert converting.post("/models/bring/carried", form).location == "/models"
    [get] = list_gets(site.activity)
    assert isinstance(get.order, CarriedOrder) and get.order.weights is Weights.INT4_CHANNEL_WISE


def test_a_stick_that_is_not_there_and_a_nas_nobody_chose(site: Site, admin: Visitor, machine: Host) -> None:
    assert "No USB stick was found." in admin.post("/models/bring/look", {"origin": "stick"}).text
    (site.settings.state_dir / "keeping").mkdir(exist_ok=True)
    assert "No NAS folder is chosen." in admin.post("/models/bring/look", {"origin": "nas"}).text


def test_what_is_refused_on_its_way_is_told_with_what_to_do(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    broken = stick / "cut.gguf"
    broken.write_bytes((stick / STICK_NAME).read_bytes()[:9000])
    admin.post("/models/bring/carried", {"origin": "stick", "path": "cut.gguf", "name": "cut"})
    follow_gets(site.settings, machine)
    page = admin.get("/models").text
    assert "cut could not be taken in." in page
    assert "Get the file again from where it came." in page
    [get] = list_gets(site.activity)
    assert admin.post(f"/models/gets/{get.id}/again").location == "/models"
    assert "waits its turn" in admin.get("/models").text
    [again, _] = list_gets(site.activity)
    admin.post(f"/models/gets/{again.id}/cancel")
    assert "is being cancelled" in admin.get("/models").text
    follow_gets(site.settings, machine)
    assert "is being cancelled" not in admin.get("/models").text


def test_a_refusal_that_was_read_is_put_away(site: Site, admin: Visitor, machine: Host, stick: Path) -> None:
    (stick / "cut.gguf").write_bytes(b"no model")
    admin.post("/models/bring/carried", {"origin": "stick", "path": "cut.gguf", "name": "cut"})
    [get] = list_gets(site.activity)
    assert admin.post(f"/models/gets/{get.id}/dismiss").status_code == 404, "it is under way"
    follow_gets(site.settings, machine)
    assert "cut could not be taken in." in admin.get("/models").text
    assert admin.post(f"/models/gets/{get.id}/dismiss").location == "/models"
    assert "cut could not be taken in." not in admin.get("/models").text


def test_an_alias_moves_and_keeps_its_model_on_the_box(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "tiny")
    moved = admin.post("/models/aliases", {"alias": "code", "model": "tiny"}, follow_redirects=True)
    assert "Who asks for “code” gets tiny from now on." in moved.text
    assert "To remove it, first move its aliases." in moved.text
    refused = admin.post("/models/remove", {"name": "tiny"})
    assert (refused.status_code, "It is in use" in refused.text) == (409, True)
    taken = admin.post("/models/aliases", {"alias": "tiny", "model": "cellule-demo"})
    assert (taken.status_code, "Choose another name for the alias." in taken.text) == (409, True)
    admin.post("/models/aliases/remove", {"alias": "code"})
    assert admin.post("/models/remove", {"name": "tiny"}).status_code == 303
    assert [model.name for model in held_models(site.db)] == ["cellule-demo"]
    audit = admin.get("/audit").text
    assert "Moved an alias" in audit
    assert "Removed a model" in audit


def test_the_demo_says_that_it_still_answers_once_a_real_model_could(site: Site, admin: Visitor) -> None:
    told = "Requests that name no model still go to it, though fits could answer them."
    assert told not in admin.get("/models").text
    planted_fleet.live(site.settings, site.db, site.activity)
    assert told in admin.get("/models").text
    admin.post("/models/aliases", {"alias": "default", "model": "fits"})
    assert told not in admin.get("/models").text


def test_default_goes_back_to_the_demo(site: Site, admin: Visitor, machine: Host, stick: Path) -> None:
    taken_in(site, machine, "tiny")
    admin.post("/models/aliases", {"alias": "default", "model": "tiny"})
    assert "Back to the demo model" in admin.get("/models").text
    admin.post("/models/aliases/remove", {"alias": "default"})
    assert list_aliases(site.db)[0].model == "cellule-demo"


def test_one_changed_byte_is_found_when_an_admin_asks(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "tiny")
    admin.post("/models/check", {"name": "tiny"})
    assert "Every byte is being read again" in admin.get("/models").text
    assert admin.post("/models/check", {"name": "tiny"}).status_code == 409
    follow_checks(site.settings)
    assert "All files are as they came" in admin.get("/models").text
    file = engine_path(site.settings.state_dir, held_model(site.db, "tiny").bundle)
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    admin.post("/models/check", {"name": "tiny"})
    follow_checks(site.settings)
    page = admin.get("/models").text
    assert "Damaged" in page
    assert "A file of this model is not what it was." in page


def test_a_check_of_a_model_that_went_meanwhile_is_forgotten(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "tiny")
    admin.post("/models/check", {"name": "tiny"})
    admin.post("/models/remove", {"name": "tiny"})
    assert follow_checks(site.settings) == ""
    admin.post("/models/check", {"name": "cellule-demo"})
    follow_checks(site.settings)
    assert "All files are as they came" in admin.get("/models").text


def test_a_deprecated_model_hands_its_aliases_on(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "old", entry="old-words")
    page = admin.get("/models").text
    assert "Advised against since" in page
    assert "Get tiny-chat instead" in page
    move_alias(site.db, site.activity, "words", "old", by="ana", at=now())
    shutil.copy(stick / STICK_NAME, stick / "new.gguf")
    taken_in(site, machine, "new", entry="tiny-chat")
    assert "Let its aliases go to new" in admin.get("/models").text
    admin.post("/models/replace", {"name": "old", "successor": "new"})
    assert {each.alias: each.model for each in list_aliases(site.db)}["words"] == "new"


def test_models_of_other_machines_are_listed_and_may_be_pointed_to(site: Site, admin: Visitor) -> None:
    engine = {"model": "adopted", "ready": True, "slots": 4, "context_tokens": 4096}
    site.activity.execute(
        "INSERT INTO node_reports (node, at, report) VALUES ('box', ?, ?)",
        [now(), json.dumps({"name": "box", "engines": [engine], "load": {}})],
    )
    page = admin.get("/models").text
    assert "Served by machines, not kept on this box" in page
    assert "size not known" in page
    assert admin.post("/models/aliases", {"alias": "large", "model": "adopted"}).status_code == 303


def test_a_model_is_kept_off_a_machine_until_the_plan_decides_again(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "tiny")
    form = {"model": "tiny", "node": "box", "wish": "never"}
    said = admin.post("/models/pins", form, follow_redirects=True).text
    assert "never on this box" in said
    [pin] = read_placement(site.db).pins
    assert (pin.node, pin.model, pin.never) == ("box", "tiny", True)
    assert admin.post("/models/pins", {**form, "node": "nowhere"}).status_code == 400
    admin.post("/models/pins", {**form, "wish": "plan"})
    assert read_placement(site.db).pins == ()


def test_a_model_is_wished_on_several_machines_until_the_plan_decides_again(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "tiny")
    said = admin.post("/models/copies", {"name": "tiny", "copies": "2"}, follow_redirects=True).text
    assert "on 2 machines at least" in said and 'value="2"' in said
    assert read_placement(site.db).copies == {"tiny": 2}
    assert "2 copies are wished and" in admin.get("/plan").text, "one machine can't hold it twice"
    for wrong in ("many", "-1", "1.5", "1000"):
        refused = admin.post("/models/copies", {"name": "tiny", "copies": wrong})
        assert refused.status_code == 400 and "machines." in refused.text
    assert admin.post("/models/copies", {"name": "none", "copies": "1"}).status_code == 404
    assert read_placement(site.db).copies == {"tiny": 2}
    admin.post("/models/copies", {"name": "tiny", "copies": ""})
    assert read_placement(site.db).copies == {}


def test_a_loaded_model_is_unloaded_by_a_button_and_not_where_it_is_pinned(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    taken_in(site, machine, "tiny")
    assert "Unload<" not in admin.get("/models").text, "it is loaded nowhere"
    card = "Vulkan0: AMD Radeon PRO W7900"
    engine = {"model": "tiny", "ready": True, "slots": 4, "context_tokens": 256, "device_names": [card]}
    report = json.dumps({"name": "box", "engines": [engine], "load": {}})
    site.activity.execute("INSERT INTO node_reports VALUES ('box', ?, ?)", [now(), report])
    page = admin.get("/models").text
    assert "Unload<" in page and card in page
    form = {"name": "tiny", "node": "box"}
    said = admin.post("/models/unload", form, follow_redirects=True).text
    assert "comes back when somebody asks for it" in said
    wishes = read_placement(site.db).wishes(now())
    assert wishes.never == {("box", "tiny")} and not read_placement(site.db).wishes(now() + 3601).never
    admin.post("/models/pins", {"model": "tiny", "node": "box", "wish": "always"})
    refused = admin.post("/models/unload", form)
    assert refused.status_code == 409 or "always loaded there" in refused.text
    assert admin.post("/models/unload", {**form, "name": "none"}).status_code == 404
    [line, *_] = [each for each in site.activity["audit"].rows if "unloaded" in (each["detail"] or "")]
    assert (line["subject"], line["detail"]) == ("tiny", "unloaded from box")


def test_the_page_follows_by_what_its_live_part_says(
    site: Site, admin: Visitor, machine: Host, stick: Path
) -> None:
    before = admin.get("/models.json").get_json()["version"]
    admin.post("/models/bring/carried", {"origin": "stick", "path": STICK_NAME, "name": "tiny"})
    state = admin.get("/models.json").get_json()
    assert state["version"] != before
    assert list(state["cells"].values()) == ["waits its turn"]


def test_the_choice_of_the_internet(site: Site, admin: Visitor) -> None:
    assert "not allowed" in admin.get("/models/internet").text
    allow_internet(admin, hub_url="https://mirror.example/hf/", quota_gb="2,250.5")
    choice = read_choice(site.db, ModelsChoice)
    assert (choice.internet_allowed, choice.hub_url) == (True, "https://mirror.example/hf")
    assert choice.quota_bytes == 2_250_500_000_000
    assert 'value="2250.5"' in admin.get("/models/internet").text
    for wrong in ({"hub_url": "https://ana:secret@mirror.example"}, {"quota_gb": "much"}, {"quota_gb": "-1"}):
        answer = admin.post("/models/internet", {"internet_allowed": "no", **wrong})
        assert answer.status_code == 400
        assert 'aria-invalid="true"' in answer.text
    assert read_choice(site.db, ModelsChoice) == choice
    assert "internet_allowed: False → True" in admin.get("/audit").text


def test_the_token_is_kept_and_never_shown(site: Site, admin: Visitor) -> None:
    assert admin.post("/models/internet/token", {"token": "hf_ two words"}).status_code == 400
    kept = admin.post("/models/internet/token", {"token": "hf_planted"}, follow_redirects=True).text
    assert "The token is kept." in kept
    for page in ("/models/internet", "/audit", "/models"):
        assert "hf_planted" not in admin.get(page).text
    assert "planted" not in "\n".join(site.db.conn.iterdump())
    assert "planted" not in "\n".join(site.activity.conn.iterdump())
    admin.post("/models/internet/token/forget")
    assert "Keep the token" in admin.get("/models/internet").text


def test_the_pages_speak_french(site: Site, admin: Visitor, machine: Host, stick: Path) -> None:
    taken_in(site, machine, "tiny", entry="old-words")
    admin.post("/language", {"language": "fr"})
    page = admin.get("/models").text
    for words in ("Déconseillé depuis le", "Poids\N{NO-BREAK SPACE}: 0,00 milliards", "sur une clé USB"):
        assert words in page, words
    assert "Ce boîtier ne va rien chercher sur internet." in admin.get("/models/catalogue").text
    assert "Ce qui sort de l’entreprise" in admin.get("/models/internet").text
    assert "Les poids du modèle font à eux seuls" in admin.get("/models/catalogue/giant-code").text


def test_where_a_model_fits_comes_first_and_what_a_silent_pc_has_is_not_known(
    site: Site, admin: Visitor
) -> None:
    planted_fleet.live(site.settings, site.db, site.activity)
    page = admin.get("/models").text
    card = page.partition('id="model-wide"')[2].partition("</article>")[0]
    shown, _, hidden = card.partition("more machines")
    assert "Server" in shown and "Mac Studio" in shown and "too large" not in shown
    assert "Ivy" in hidden and "too large" in hidden
    memory = page.partition('id="memory"')[2].partition("Mac Studio")[2].partition('class="memory"')[0]
    assert "what it has loaded is not known now" in memory and "free" not in memory
    assert 'lang="en"' not in page.partition("<main")[2].partition("</main>")[0]


def test_of_a_large_fleet_the_largest_machines_are_listed_and_the_rest_counted(
    site: Site, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted_fleet.live(site.settings, site.db, site.activity)
    monkeypatch.setattr("webadmin.models.MOST_FITS", 5)
    card = admin.get("/models").text.partition('id="model-wide"')[2].partition("</article>")[0]
    assert "The largest 5 are listed. It fits on 4 of all 6 machines." in card and card.count("fit-node") == 5
