"""The sizing assistant's page: a day replayed on lines or a file, and whatever is wrong with them told."""

import html
import io
import re
from collections.abc import Iterator, Mapping

import pytest
from flask_babel import force_locale

from appliance.hardware import Profile, read_profiles
from appliance.hardware.places import SHIPPED
from appliance.placement import (
    InventoryUnusable,
    Needed,
    Target,
    Workload,
    choose_placement,
    needed,
    read_inventory,
    sizing_models,
    unknown_cards,
)
from tests.placement.test_inventory import WRONG
from tests.web.conftest import Site, Visitor
from webadmin.box_in_words import in_words

ENGLISH = r"\b(Line|is|it|the|must|has|are|be|and)\b"
INVENTORY = "name;count;cpu;cores;memory_gb;gpu\nCAD;2;AMD Ryzen 9 7950X;16;64;RTX 4090\n"


def sized(admin: Visitor, **changed: object) -> tuple[int, str]:
    form = {"employees": "30", "requests": "20", "first_word": "5", "model": "", "inventory": INVENTORY}
    form |= {"prompt_tokens": "600", "answer_tokens": "250"}
    answer = admin.post("/plan/sizing", form | changed)
    return answer.status_code, answer.text


def test_a_fleet_is_sized_from_lines_or_a_file(site: Site, admin: Visitor) -> None:
    status, page = sized(admin)
    assert status == 200 and "is good enough" in page and "CAD 1" in page and "RTX 40" in page
    assert "questions of 600 tokens and answers of 250" in page, "what was reckoned with is told"
    assert "Energy for accelerators that wait" in page, "that of machines which are only on"
    file = (io.BytesIO(INVENTORY.replace("CAD", "Atelier").encode()), "machines.csv")
    status, page = sized(admin, inventory="", file=file)
    assert status == 200 and "Atelier 1" in page


def test_the_speed_that_an_admin_wants_on_the_page_plan_is_asked_of_a_fleet(
    site: Site, admin: Visitor
) -> None:
    status, page = sized(admin, model="qwen3-8b")
    assert status == 200 and "is good enough" in page and "at least 7.0\xa0tokens/s" in page
    choose_placement(site.db, least_tokens_per_second=900, chosen_by=None)
    status, page = sized(admin, model="qwen3-8b")
    assert status == 200 and "No model runs" in page and "a reader needs 900" in page


def test_how_many_of_each_kind_are_needed_is_told_where_it_is_asked(site: Site, admin: Visitor) -> None:
    lines = INVENTORY + "Office;1;Intel Core i5-4590;4;8;\n" + "Other;1;Intel Core i5-4590;4;8;\n"
    question = {"model": "qwen3-8b", "inventory": lines}
    status, page = sized(admin, needed="yes", **question)
    assert status == 200 and "How many of one kind alone" in page
    found = re.findall(
        r'<td class="name">(.*?)</td><td class="number" data-label="Machines needed">'
        r"<span>(.*?)</span>",
        page,
    )
    assert found == [("CAD", "1"), ("Office", "never enough")], "machines that compute alike are one kind"
    assert "How many of one kind alone" not in sized(admin, **question)[1]


def test_questions_and_answers_are_as_long_as_is_typed(site: Site, admin: Visitor) -> None:
    status, page = sized(admin, prompt_tokens="3,000", answer_tokens="800", model="qwen3-4b")
    assert status == 200 and "questions of 3,000 tokens and answers of 800" in page.replace("\xa0", " ")
    assert "Whole answer, half of the answers" in page
    status, page = sized(admin, answer_tokens="0")
    assert status == 400 and "not “0”" in page


def test_a_card_that_is_not_known_is_named_above_what_the_others_can_do(site: Site, admin: Visitor) -> None:
    status, page = sized(admin, inventory=f"{INVENTORY}PC;1;i5-12400;6;16;Voodoo 2\n", model="qwen3-4b")
    assert status == 200 and "is good enough" in page
    assert 'Line 3: the graphics card "Voodoo 2" is not known' in html.unescape(page)


def test_a_machine_a_line_of_a_large_company_is_read(site: Site, admin: Visitor) -> None:
    lines = "".join(f"WS-{number:05};AMD Ryzen 9 7950X;64;RTX 4090\n" for number in range(4000))
    status, page = sized(admin, model="qwen3-4b", inventory=f"name;cpu;memory_gb;gpu\n{lines}")
    assert status == 200 and "The 30 busiest of" in page


def test_a_form_without_its_token_is_not_answered(site: Site, admin: Visitor) -> None:
    answer = admin.client.post("/plan/sizing", data={"inventory": INVENTORY})
    assert answer.status_code == 400 and "too old" in answer.text


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"employees": "many"}, "Employees: give a number from 1 to 100,000, not “many”."),
        ({"first_word": "0"}, "First word within … seconds, for 95 of 100: give a number from 0.1 to 600"),
        ({"employees": "90000", "requests": "90"}, "be replayed here"),
        (
            {"employees": "4000", "inventory": "name;count;cpu;memory_gb\nPC;900;i5-12400;16\n"},
            "a part of the machines",
        ),
        ({"inventory": "name;cpu\nPC;i5\n"}, "memory_gb"),
        ({"inventory": ""}, "no line with a machine"),
        ({"file": (b"PK\0\0", "machines.xlsx")}, "Save the table as CSV"),
        ({"file": ("name;cpu\nRéception;i5\n".encode("cp1252"), "machines.csv")}, "memory_gb"),
        ({"inventory": f'name;cpu;memory_gb\nx;"{"i" * 140_000}";8\n'}, "Line 2: a cell has no end"),
        ({"inventory": 1_500_000 * "x"}, "larger than a megabyte"),
        ({"file": (1_500_000 * b"x", "machines.csv")}, "larger than a megabyte"),
        ({"inventory": 'name;cpu;memory_gb\n"x;i5;8\n'}, "Line 2: a quotation mark is not closed"),
        ({"inventory": "name;count;cpu;memory_gb\nPC;2;i5;8\nPC 1;1;i5;8\n"}, 'Line 3: the name "PC 1"'),
        ({"model": "gpt-9"}, "Nothing is known of the model gpt-9"),
    ],
)
def test_a_wrong_question_is_told_and_stays_in_the_form(
    site: Site, admin: Visitor, changed: dict[str, str | tuple[bytes, str]], sentence: str
) -> None:
    form: dict[str, object] = {
        name: (io.BytesIO(value[0]), value[1]) if isinstance(value, tuple) else value
        for name, value in changed.items()
    }
    status, page = sized(admin, **form)
    assert status in {400, 404} and sentence in html.unescape(page)
    assert 'value="20"' in page or 'value="90"' in page


def test_one_person_with_a_request_now_and_then_is_sized(site: Site, admin: Visitor) -> None:
    status, page = sized(admin, employees="1", requests="0.01")
    assert status == 200 and "is good enough" in page


def _needs(profiles: Mapping[str, Profile]) -> Iterator[Needed]:
    """Enough, too slow alone, never enough, and no way at all."""
    machines = (
        "name,count,cpu,memory_gb,gpu\nCAD,2,Ryzen 9 7950X,64,RTX 4090\nPC,3,i5-12400,16,\nold,1,i5-4590,8,\n"
    )
    kinds = read_inventory(machines, profiles)
    models = {each.name: each for each in sizing_models()}
    for model, target in (("qwen3-4b", 5.0), ("qwen3-4b", 0.05), ("qwen3-32b", 5.0)):
        yield from needed(kinds, models[model], Workload(900, 20, ()), Target(target))


def test_whatever_is_wrong_with_an_inventory_has_its_french(site: Site) -> None:
    profiles, _ = read_profiles([SHIPPED])
    told: list[str] = []
    for text, _ in WRONG:
        with pytest.raises(InventoryUnusable) as refused:
            read_inventory(text, profiles)
        told += [*refused.value.wrong, refused.value.next_step]
    (odd,) = read_inventory("name,cpu,memory_gb\nx,Zhaoxin KX-7000,16\n", profiles)
    cards = "".join(f"{n},i5,16,Voodoo {min(n, 2)}\n" for n in range(14)) + "b,i5,16,Voodoo 0\n"
    unknown = unknown_cards(read_inventory(f"name,cpu,memory_gb,gpu\n{cards}", profiles))
    assert len(unknown) == 3
    told += [each.because for each in _needs(profiles)]
    with site.app.test_request_context(), force_locale("fr"):
        french = list(map(in_words, (*told, *odd.notes, *unknown)))
        assert [sentence for sentence in french if re.search(ENGLISH, sentence)] == []
        assert in_words('Line 3: "count": it must be at least 1.') == (
            "Ligne 3\N{NO-BREAK SPACE}: «\N{NO-BREAK SPACE}count\N{NO-BREAK SPACE}»\N{NO-BREAK SPACE}:"
            " au moins 1."
        )
