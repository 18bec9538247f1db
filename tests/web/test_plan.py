"""The plan's page and the sizing assistant: what is shown, decided and refused, from real rows and rules."""

import io
import json

import pytest

from appliance.clock import now
from appliance.hardware import MachineFacts, keep_hardware
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from appliance.models.demo import DEMO_MODEL_NAME
from appliance.models.facts import ModelFacts
from appliance.models.held import HeldModel, add_held
from appliance.placement import Applying, applied_engines, read_placement
from appliance.settings import BOX_NODE
from tests.web.conftest import Site, Visitor
from tests.web.test_hardware import MACHINES


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
        return admin.post("/plan/pins", {"node": BOX_NODE, "model": model, "wish": wish}).status_code

    assert wish("never") == 303
    page = admin.get("/plan").text
    assert "never here" in page and "fits</strong> on This box" not in page
    assert wish("free") == 303 and read_placement(box.db).pins == ()
    assert wish("keep") == 303 and "Pinned here." in admin.get("/plan").text
    assert wish("keep", "unknown") == 404 and wish("whatever") == 404


INVENTORY = "name;count;cpu;cores;memory_gb;gpu\nCAD;2;AMD Ryzen 9 7950X;16;64;RTX 4090\n"


def sized(admin: Visitor, **changed: object) -> tuple[int, str]:
    form = {"employees": "30", "requests": "20", "first_word": "5", "model": "", "inventory": INVENTORY}
    answer = admin.post("/plan/sizing", form | changed)
    return answer.status_code, answer.text


def test_a_fleet_is_sized_from_lines_or_a_file(site: Site, admin: Visitor) -> None:
    status, page = sized(admin)
    assert status == 200 and "is good enough" in page and "CAD 1" in page and "RTX 40" in page
    file = (io.BytesIO(INVENTORY.replace("CAD", "Atelier").encode()), "machines.csv")
    status, page = sized(admin, inventory="", file=file)
    assert status == 200 and "Atelier 1" in page


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"employees": "many"}, "not “many”"),
        ({"employees": "90000", "requests": "90"}, "be replayed here"),
        ({"inventory": "name;cpu\nPC;i5\n"}, "memory_gb"),
        ({"inventory": ""}, "no line with a machine"),
        ({"model": "gpt-9"}, "Nothing is known of the model gpt-9"),
    ],
)
def test_a_wrong_question_is_told_and_stays_in_the_form(
    site: Site, admin: Visitor, changed: dict[str, str], sentence: str
) -> None:
    status, page = sized(admin, **changed)
    assert status in {400, 404} and sentence in page.replace("&#39;", "'")
    assert 'value="20"' in page or 'value="90"' in page
