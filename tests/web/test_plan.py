"""The plan's page: what is shown, decided and refused, from real rows and rules."""

import json
from pathlib import Path

import pytest
from flask_babel import force_locale

from appliance.clock import now
from appliance.engines.spec import EngineSpec, write_specs
from appliance.engines.tending import EngineState, EngineStates
from appliance.hardware import MachineFacts, keep_hardware
from appliance.models import move_alias
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.facts import ModelFacts
from appliance.models.held import HeldModel, add_held
from appliance.placement import (
    Applying,
    SplitWish,
    applied_engines,
    plan_of_box,
    read_placement,
    unload_model,
)
from appliance.placement.sharding import (
    Alternative,
    NoSplit,
    PlannedPart,
    SplitPlan,
    WhyNot,
    head_ruled_out,
    plan_after_loss,
    plan_split,
)
from appliance.placement.splits import Split, SplitModels, Unsplit, keep_splits
from appliance.settings import BOX_NODE
from tests.placement.test_sharding import BOX, MIXTURE, READABLE, station
from tests.web import planted_fleet
from tests.web.conftest import Site, Visitor
from tests.web.test_hardware import MACHINES
from webadmin.box_in_words import in_words


def hold(site: Site, name: str, weights_gb: float) -> None:
    """A model as a get leaves it, without its files: nothing here loads it."""
    file = BundleFile(
        path=f"{name}.gguf", size_bytes=int(weights_gb * 1e9), sha256=f"{hash(name) % 16**8:064x}"
    )
    facts = ModelFacts(
        format=ModelFormat.GGUF,
        kind="text",
        architecture="qwen3",
        parameters=int(weights_gb * 1.6e9),
        quantisation="Q4_K_M",
        weights_bytes=file.size_bytes,
        layers=36,
        kv_heads=(8,) * 36,
        key_length=128,
        value_length=128,
        context_tokens=32768,
    )
    bundle = Bundle(format=ModelFormat.GGUF, files=(file,))
    add_held(site.db, HeldModel(name, bundle, facts, "", "a test", "MIT", None, None, now()))


@pytest.fixture
def box(site: Site) -> Site:
    """A box with a graphics card, which holds a model that fits and one that fits nowhere."""
    facts = MachineFacts.model_validate_json((MACHINES / "rtx-4090-pc.json").read_text())
    keep_hardware(site.activity, BOX_NODE, facts, now())
    report = {"name": "box", "engines": [{"model": DEMO_MODEL_NAME, "ready": True, "demo": True, "slots": 8}]}
    site.activity.table("node_reports").insert({"node": BOX_NODE, "at": now(), "report": json.dumps(report)})
    hold(site, "fits", 5)
    hold(site, "vast", 400)
    return site


def test_without_a_model_the_page_says_what_to_do(site: Site, admin: Visitor) -> None:
    page = admin.get("/plan").text
    assert "No model to place yet" in page and "Get a model" in page


def test_what_an_admin_unloaded_is_not_said_to_fit_nowhere(box: Site, admin: Visitor) -> None:
    unload_model(box.db, BOX_NODE, "fits", at=now(), chosen_by=None)
    page = admin.get("/plan").text
    assert "It comes back when somebody asks for it" in page
    assert page.count("finds no machine that could run it well.") == 1, "the one that is too large"


def test_the_plan_says_where_why_and_what_would_change(box: Site, admin: Visitor) -> None:
    page = admin.get("/plan").text
    assert "load</span>" in page and "fits</strong> on This box" in page
    assert "tokens/s alone" in page and "llama.cpp · cuda" in page
    assert "finds no machine that could run it well." in page and "a reader needs 7" in page
    assert "The box does this by itself" in page and "Apply the plan" not in page
    assert DEMO_MODEL_NAME not in page.partition("What would change")[2].partition("Machine by machine")[0]


def test_a_plan_waits_for_the_admins_word_where_he_chose_so(box: Site, admin: Visitor) -> None:
    assert admin.post("/plan/choices", {"applying": "ask", "speed": "8,5"}).status_code == 303
    choice = read_placement(box.db)
    assert (choice.applying, choice.least_tokens_per_second) == (Applying.ASK, 8.5)
    assert "Apply the plan" in admin.get("/plan").text
    assert admin.post("/plan/apply").status_code == 303
    assert [engine.model for engine in applied_engines(box.db, BOX_NODE)] == ["fits"]
    events = [row["event"] for row in box.activity["audit"].rows]
    assert events[-2:] == ["admin:plan:changed", "admin:plan:applied"]


@pytest.mark.parametrize("given", [{"applying": "x", "speed": "7"}, {"applying": "ask", "speed": "nan"}, {}])
def test_a_wrong_choice_changes_nothing(box: Site, admin: Visitor, given: dict[str, str]) -> None:
    before = read_placement(box.db)
    assert admin.post("/plan/choices", given, follow_redirects=True).text.count("Nothing was changed.") == 1
    assert read_placement(box.db) == before


def test_a_model_is_kept_on_a_node_or_off_it_and_let_free_again(box: Site, admin: Visitor) -> None:
    def wish(wish: str, model: str = "fits") -> int:
        answer = admin.post("/plan/pins", {"node": BOX_NODE, "model": model, "wish": wish})
        if answer.status_code == 303:
            assert answer.headers["Location"] == f"/plan#plan-{BOX_NODE}", "where the click was"
        return answer.status_code

    lost = "Requests for code go to it: nothing would answer them."
    move_alias(box.db, box.activity, "code", "fits", by="ana", at=0)
    assert lost not in admin.get("/plan").text
    assert wish("never") == 303
    page = admin.get("/plan").text
    assert "never here" in page and "fits</strong> on This box" not in page and lost in page
    assert "Nothing more is possible: what finds no place stands below." in page
    assert "everything runs where it should" not in page
    assert wish("free") == 303 and read_placement(box.db).pins == ()
    assert wish("keep") == 303 and "Pinned here." in admin.get("/plan").text
    assert wish("keep", "unknown") == 404 and wish("whatever") == 404


ALTERNATIVE = Alternative("fits", "box", 20.0)
PARTS = (PlannedPart("w1", "CAD 1", 20, 9_000_000_000), PlannedPart("w2", "CAD 2", 10, 5_000_000_000))
SPLIT_PLAN = SplitPlan("vast", 6, PARTS, 9.5, ("Together 105.3 ms a token: 9.5 tokens/s for one answer.",))


def decided(box: Site, *unsplit: Unsplit, splits: tuple[Split, ...] = ()) -> None:
    """As the core leaves it."""
    keep_splits(box.db, SplitModels(splits=splits, unsplit=unsplit))


def test_a_model_that_finds_no_machine_says_why_it_is_not_split_and_what_to_run(
    box: Site, admin: Visitor
) -> None:
    verdict = "fits on this box alone makes 20.0 tokens/s, which is faster."
    refused = NoSplit(WhyNot.SLOWER_THAN_SMALLER, (*SPLIT_PLAN.reasons, verdict), ALTERNATIVE)
    decided(box, Unsplit(model="vast", refused=refused))
    page = admin.get("/plan").text
    assert "not split over several machines either" in page and "Rather use fits on this box" in page
    assert verdict in page and "Together 105.3 ms a token" in page and "Split it anyway" in page
    decided(box, Unsplit(model="vast", refused=NoSplit(WhyNot.TOO_LARGE, ("There is too little.",))))
    page = admin.get("/plan").text
    assert "There is too little." in page and "Split it anyway" in page, "other copies could give way"
    decided(box, Unsplit(model="vast", refused=NoSplit(WhyNot.TOO_SLOW_TO_READ, ("It crawls.",))))
    assert "It crawls." in (page := admin.get("/plan").text) and "Split it anyway" not in page


def test_an_admin_has_a_model_split_and_takes_his_word_back(box: Site, admin: Visitor) -> None:
    decided(box, Unsplit(model="vast", possible=SPLIT_PLAN))
    page = admin.get("/plan").text
    assert "split over the box and CAD 1, CAD 2" in page and "Split it anyway" in page

    def wish(wish: str, model: str = "vast") -> int:
        return admin.post("/plan/splits", {"model": model, "wish": wish}).status_code

    assert wish("anyway") == 303
    assert read_placement(box.db).splits == {"vast": SplitWish.ANYWAY}
    page = admin.get("/plan").text
    assert "Let the box decide on splitting" in page and "Split it anyway" not in page
    assert wish("never") == 303 and "An admin does not want that." in admin.get("/plan").text
    assert wish("free") == 303 and read_placement(box.db).splits == {}
    assert wish("free", "unknown") == 404 and wish("whatever") == 404
    audited = list(box.activity["audit"].rows)[-3:]
    assert [(row["event"], row["subject"], row["detail"]) for row in audited] == [
        ("admin:plan:changed", "vast", f"split: {said}") for said in ("anyway", "never", "free")
    ]


def test_a_split_model_shows_where_its_parts_are_and_how_they_do(box: Site, admin: Visitor) -> None:
    split = Split(
        plan=SPLIT_PLAN, digest="d", addresses={"w1": "10.77.0.3", "w2": "10.77.0.4"}, kv_tokens=8192,
        head_bytes=3_000_000_000,
    )  # fmt: skip
    decided(box, splits=(split,))
    part = {"port": 8020, "ready": True, "memory_bytes": 9_000_000_000}
    report = {"name": "CAD 1", "part": part}
    box.activity.table("node_reports").insert({"node": "w1", "at": now(), "report": json.dumps(report)})
    page = admin.get("/plan").text
    assert "finds no machine" not in page, "it runs"
    shown = page.partition("Split over several machines")[2].partition("Machine by machine")[0]
    assert "waits for its parts" in shown and "About 9.5" in shown and "6 layers" in shown
    first, _, second = shown.partition("CAD 2")
    assert "ready</span>" in first.partition("CAD 1")[2] and "20 layers" in first
    assert "silent</span>" in second and "10 layers" in second and "Do not split" in second
    spec = EngineSpec(name="vast", model_file=Path("vast.gguf"))
    write_specs(box.settings.split_specs_dir, {"vast": spec})
    lost = "The part on 10.77.0.4:8020 is lost: nobody listens there any more."
    said = f"It ended with status 76: 2026-01-01 12:00:00,000 CRITICAL x {lost}"
    states = EngineStates(engines=(EngineState(name="vast", is_running=False, since=now(), said=said),))
    box.settings.engines_dir.mkdir(parents=True, exist_ok=True)
    (box.settings.engines_dir / "split-engines.json").write_text(states.model_dump_json())
    page = admin.get("/plan").text
    assert "starts again" in page and lost in page and "CRITICAL" not in page
    admin.post("/language", {"language": "fr"})
    french = admin.get("/plan").text
    assert "La partie sur 10.77.0.4:8020 est perdue" in french and "En tout 105,3 ms par jeton" in french


def reasons_of_splits() -> list[str]:
    """Of each answer that the rules give, as they give it."""
    small = Alternative("small", "box", 300.0)
    answers = [
        plan_after_loss(MIXTURE, BOX, [station("a"), station("b")], ["a"], alternative=None,
                        least_tokens_per_second=READABLE),
        plan_split(MIXTURE, BOX, [station("a")], alternative=small, least_tokens_per_second=READABLE),
        plan_split(MIXTURE, BOX, [station("a")], alternative=small, least_tokens_per_second=READABLE,
                   is_insisted_on=True),
        plan_split(MIXTURE, BOX, [station("a")], alternative=None, least_tokens_per_second=1000),
        plan_split(MIXTURE, BOX, [station("a", 40)], alternative=None, least_tokens_per_second=1),
        plan_split(MIXTURE, BOX, [], alternative=None, least_tokens_per_second=1),
        head_ruled_out(MIXTURE.name, BOX, None),
    ]  # fmt: skip
    assert {answer.why for answer in answers if isinstance(answer, NoSplit)} == set(WhyNot)
    return [reason for answer in answers for reason in answer.reasons]


def test_every_reason_of_a_split_has_its_french(site: Site) -> None:
    with site.app.test_request_context(), force_locale("fr"):
        assert [reason for reason in reasons_of_splits() if in_words(reason) == reason] == []


@pytest.mark.parametrize(
    ("told", "french"),
    [
        (
            "llama.cpp · cuda: 41.3 tokens/s alone, 97.0 with 4 at once (360 GB/s over 5.0 GB for each token,"
            " corrected by 2 benchmarks on this node (× 0.85)).",
            "llama.cpp · cuda : 41,3 jetons/s seul, 97,0 avec 4 à la fois (360 Go/s sur 5,0 Go par jeton,"
            " corrigé par 2 essais sur ce nœud (× 0,85)).",
        ),
        (
            "llama.cpp on CPU: 25.0 tokens/s alone, 34.3 with 8 at once (measured, 1 benchmark here with"
            " llama.cpp on CPU; more than 1 at once is estimated).",
            "llama.cpp sur CPU : 25,0 jetons/s seul, 34,3 avec 8 à la fois (mesuré, 1 essai ici avec"
            " llama.cpp sur CPU ; au-delà de 1 à la fois, c’est estimé).",
        ),
        (
            "It runs with llama.cpp on cpu (planned: llama.cpp · cuda); with 8 answers at once (planned: 2);"
            " with a context of 4096 tokens (planned: 8192).",
            "Il tourne avec llama.cpp sur cpu (prévu : llama.cpp · cuda) ; avec 8 réponses à la fois (prévu :"
            " 2) ; avec un contexte de 4096 jetons (prévu : 8192).",
        ),
        (
            "It is pinned to box: an admin keeps it off box.",
            "Il est épinglé à ce boîtier : un administrateur ne le veut pas sur ce boîtier.",
        ),
        (
            "box can't run fits: an admin keeps it off box.",
            "Ce boîtier ne peut pas exécuter fits : un administrateur ne le veut pas sur ce boîtier.",
        ),
        (
            "openvino on CPU: 41.3 tokens/s alone, 97.0 with 4 at once (measured, 1 benchmark here with"
            " openvino on CPU). Measured here, openvino on CPU gives 57.1 tokens/s with prompts, and"
            " llama.cpp on CPU gives 28.6.",
            "openvino sur CPU : 41,3 jetons/s seul, 97,0 avec 4 à la fois (mesuré, 1 essai ici avec openvino"
            " sur CPU). Mesuré ici, openvino sur CPU donne 57,1 jetons/s questions comprises, et llama.cpp"
            " sur CPU en donne 28,6.",
        ),
        (
            "Pinned here. llama.cpp on cuda is given up for now: its engine ended 3 times in a row while it"
            " was loaded (It ended by signal SIGSEGV: it said nothing), and is tried again after 1 h or when"
            " the machine changes.",
            "Épinglé ici. llama.cpp sur cuda est écarté pour l’instant : son moteur s’est arrêté 3 fois de"
            " suite pendant le chargement (Il a été arrêté par le signal SIGSEGV : il n’a rien dit) ; nouvel"
            " essai après 1 h, ou quand la machine change.",
        ),
        (
            "It ended with status 1: There is no device 'CUDA7' here. There is: CPU.",
            "Il s’est arrêté avec le code 1 : Il n’y a pas d’appareil 'CUDA7' ici. Il y a : CPU.",
        ),
    ],
)
def test_the_facts_inside_a_reason_are_french_too(site: Site, told: str, french: str) -> None:
    with site.app.test_request_context(), force_locale("fr"):
        assert in_words(told).replace("\N{NO-BREAK SPACE}", " ") == french


def test_what_finds_no_place_is_told_machine_by_machine_without_what_is_silent_or_retired(
    site: Site, admin: Visitor
) -> None:
    planted_fleet.live(site.settings, site.db, site.activity)
    page = admin.get("/plan").text
    nowhere = page.partition('id="unplaced"')[2].partition("</section>")[0]
    assert "4 copies are wished and" in nowhere and "<strong>Ivy</strong>" in nowhere
    assert "<strong>This box</strong>" in nowhere and "box: " not in nowhere
    assert "Not planned for, as they don't report now: Mac Studio" in page
    planned = {model.name for model in plan_of_box(site.settings, site.db, site.activity).models}
    assert "leaving" in planned and "retired" not in planned
    assert "Main memory:" in page and "Graphics memory:" in page
