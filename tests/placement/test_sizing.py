"""Sizing: the same rules and router as a real fleet, and the command that prints it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.hardware import read_profiles
from appliance.hardware.places import SHIPPED
from appliance.placement.arrivals import Workload
from appliance.placement.inventory import MachineKind, read_inventory
from appliance.placement.models_for_sizing import UnknownModel, sizing_models
from appliance.placement.sizing import Target, needed, simulate, size

PROFILES, _ = read_profiles([SHIPPED])
FLEET = """\
name,count,cpu,cores,memory_gb,gpu,hours
office PC,10,Intel Core i5-12400,6,16,,8-18
CAD station,2,AMD Ryzen 9 5950X,16,64,NVIDIA RTX A4000,
old,2,Intel Core i5-4590,4,8,,
"""


def fleet(text: str = FLEET) -> tuple[MachineKind, ...]:
    return read_inventory(text, PROFILES)


def people(employees: int = 300) -> Workload:
    return Workload(employees, 20, ())


def test_the_best_model_that_meets_what_is_wanted_is_taken_and_the_better_ones_have_a_reason() -> None:
    sized = size(fleet(), sizing_models(), people(), Target())
    assert sized.meets and sized.simulated
    figures = sized.simulated.figures
    assert figures.requests > 5000 and figures.refused == 0
    assert figures.first_token_p95 is not None and figures.first_token_p95 <= 5
    assert figures.first_token_p50 is not None and figures.first_token_p50 <= figures.first_token_p95
    tried = {each.model: each.because for each in sized.tried}
    assert "a reader needs 7" in tried["llama-3.3-70b"]
    assert list(tried) == [each.name for each in sizing_models()][: len(tried)]


def test_more_people_wait_longer_and_in_the_end_are_refused() -> None:
    models = sizing_models(["qwen3-8b"])
    pcs = fleet("name,count,cpu,cores,memory_gb,gpu\nPC,1,AMD Ryzen 9 5950X,16,64,RTX 3060\n")
    days = [
        simulate(pcs, models, Workload(employees, 10, (("qwen3-8b", 1.0),))) for employees in (20, 500, 2000)
    ]
    p95 = [day.figures.first_token_p95 or 0 for day in days]
    assert p95[0] <= p95[1] <= p95[2]
    assert days[0].figures.refused == 0 < days[2].figures.refused
    assert days[2].figures.longest_queue > days[0].figures.longest_queue
    assert max(node.busy_share for node in days[2].nodes) > 3 * max(node.busy_share for node in days[0].nodes)


@pytest.mark.parametrize(("employees", "requests"), [(1, 0.01), (1, 1.0), (3, 0.5)])
def test_a_day_with_hardly_a_request_is_sized_by_what_it_has(employees: int, requests: float) -> None:
    models, workload = sizing_models(["qwen3-4b"]), Workload(employees, requests, ())
    cards = fleet()[1:2]
    sized = size(cards, models, workload, Target())
    assert sized.meets and sized.simulated and sized.simulated.figures.requests >= 1
    assert [each.count for each in needed(cards, models[0], workload, Target())] == [1]


def test_a_kind_that_is_too_slow_alone_is_not_searched_for() -> None:
    (model,) = sizing_models(["qwen3-4b"])
    (found,) = needed(fleet("name,cpu,memory_gb\nPC,Intel Core i5-8500,16\n"), model, people(), Target(0.5))
    assert found.count is None and "Each is too slow" in found.because


def test_how_many_of_a_kind_are_needed_grows_with_the_people_and_is_never_for_what_is_too_slow() -> None:
    (model,) = sizing_models(["qwen3-8b"])
    cards = tuple(kind for kind in fleet() if kind.name != "office PC")
    found = {each.kind: each for each in needed(cards, model, people(4000), Target())}
    assert found["old"].count is None and "a reader needs" in found["old"].because
    assert found["CAD station"].count is not None
    fewer = {each.kind: each for each in needed(cards, model, people(300), Target())}
    assert fewer["CAD station"].count is not None
    assert fewer["CAD station"].count < found["CAD station"].count


def test_a_machine_that_is_switched_off_answers_nothing() -> None:
    models = sizing_models(["qwen3-8b"])
    text = "name,cpu,memory_gb,gpu,hours\nnight,AMD Ryzen 9 5950X,64,NVIDIA RTX A4000,19-24\n"
    day = simulate(fleet(text), models, Workload(10, 10, (("qwen3-8b", 1.0),)))
    assert day.figures.refused == day.figures.requests > 0


def test_a_model_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UnknownModel, match="gpt-oss-20b"):
        sizing_models(["gpt-9"])


def run(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "machines.csv"
    file.write_text(text)
    command = [sys.executable, "-m", "appliance.placement", "simulate", "--inventory", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_command_prints_a_report_and_the_same_as_json(tmp_path: Path) -> None:
    asked = ("--employees", "300", "--requests-per-day", "20", "--models", "qwen3-8b,qwen3-4b", "--needed")
    done = run(tmp_path, FLEET, *asked)
    assert done.returncode == 0, done.stderr
    for words in (
        "10 x office PC",
        "Taken: qwen3-8b",
        "95 of 100 within",
        "kWh",
        "CAD station",
        "How many of one kind",
    ):
        assert words in done.stdout
    told = json.loads(run(tmp_path, FLEET, *asked, "--json").stdout)
    assert told["meets_target"] and told["figures"]["first_token_p95"] <= 5
    assert f"95 of 100 within {told['figures']['first_token_p95']:.1f} s" in done.stdout
    assert {each["kind"] for each in told["needed"]} == {"office PC", "CAD station", "old"}
    assert all(each["speed_is"] == "predicted" for each in told["placed"])


def test_the_command_tells_why_not_in_lines_that_a_terminal_shows(tmp_path: Path) -> None:
    done = run(tmp_path, FLEET, "--models", "llama-3.3-70b,qwen3-4b", "--employees", "20")
    assert "office PC 1 and 9 more" in done.stdout and "CAD station 1 and 1 more" in done.stdout
    why_not = done.stdout.partition("Not llama-3.3-70b")[2].partition("Taken")[0]
    assert max(map(len, why_not.splitlines())) <= 110


def test_the_command_refuses_a_wrong_inventory_and_says_when_nothing_is_good_enough(tmp_path: Path) -> None:
    wrong = run(tmp_path, "name,cpu,memory_gb\nx,i5-12400,lots\n")
    assert wrong.returncode == 1 and "Line 2" in wrong.stderr and "Traceback" not in wrong.stderr
    old = run(tmp_path, "name,cpu,cores,memory_gb\nold,Intel Core i5-4590,4,8\n", "--employees", "300")
    assert old.returncode == 1 and not old.stderr
    assert "Not qwen3-8b" in old.stdout
    night = "name,cpu,memory_gb,hours\nPC,Intel Core i5-12400,16,20-23\n"
    off = run(tmp_path, night, "--employees", "5", "--models", "qwen3-1.7b")
    assert off.returncode == 1 and "first token   nobody got one" in off.stdout
    for number in ("0", "1e3", "many"):
        none = run(tmp_path, FLEET, "--employees", number)
        assert none.returncode == 2 and f'"{number}" is not a whole number of more than 0' in none.stderr
    none = run(tmp_path, FLEET, "--answer-tokens", "nan")
    assert none.returncode == 2 and '"nan" is not a number of more than 0' in none.stderr
