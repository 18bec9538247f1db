"""What travels of a recognition: small enough for a report, whole enough for the page."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.hardware import HardwareReport, MachineFacts, own_hardware, read_told
from appliance.hardware.own import told_hardware
from appliance.hardware.places import SHIPPED

MACHINES = sorted((Path(__file__).parent / "machines").glob("*.json"))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda file: file.stem)
def test_every_recorded_machine_s_report_is_small_and_comes_back_the_same(machine: Path) -> None:
    report = own_hardware([SHIPPED], MachineFacts.model_validate_json(machine.read_text()))
    text = report.model_dump_json()
    assert len(text) < 16_000
    assert HardwareReport.model_validate_json(text) == report
    assert report.chosen is None or report.chosen.because


def test_a_file_that_cannot_be_used_is_told_and_the_rest_works(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('title = "Mine"\nkindd = "gpu"\n')
    report = own_hardware([SHIPPED, tmp_path])
    assert report.chosen
    assert any("kindd" in trouble for trouble in report.troubles)


def test_a_machine_is_recognised_again_only_when_its_record_or_a_profile_is_another(tmp_path: Path) -> None:
    told = {"box": MACHINES[0].read_text(), "lost": "{"}
    first = told_hardware([SHIPPED, tmp_path], told)
    assert list(first) == ["box"] and told_hardware([SHIPPED, tmp_path], told)["box"] is first["box"]
    (tmp_path / "mine.toml").write_text('title = "Mine"\nkindd = "gpu"\n')
    assert told_hardware([SHIPPED, tmp_path], told)["box"].troubles
    told["box"] = MACHINES[1].read_text()
    assert told_hardware([SHIPPED, tmp_path], told)["box"].machine != first["box"].machine


def test_a_record_of_a_newer_version_is_read_without_what_is_unknown_here() -> None:
    facts = MachineFacts.model_validate_json(MACHINES[0].read_text())
    told = json.loads(facts.model_dump_json())
    told["new"] = told["processor"]["new"] = 1
    assert read_told(json.dumps(told)) == facts
    for nonsense in ("", "[]", "{", '{"devices": 3}', '{"memory_bytes": -1}', '{"devices": [{"pci": "x"}]}'):
        assert read_told(nonsense) is None


def test_what_a_machine_claims_of_itself_is_bounded() -> None:
    chosen = own_hardware([SHIPPED]).chosen
    assert chosen
    for name, value in (("title", "x" * 500), ("parallel", 10**9), ("busy_watts", "NaN")):
        with pytest.raises(ValidationError):
            HardwareReport.model_validate_json(json.dumps({"chosen": {**chosen.model_dump(), name: value}}))
