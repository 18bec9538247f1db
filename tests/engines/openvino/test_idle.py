"""An OpenVINO engine with nothing to do says so."""

from pathlib import Path

from tests.engines.contract_engines import ENGINES
from tests.waiting import wait_until


def test_the_cache_of_an_answer_that_was_stopped_is_not_told_for_ever(tmp_path: Path) -> None:
    declared = next(each for each in ENGINES if each.name == "OpenVINO on the CPU")
    with declared.start(tmp_path) as engine:
        whole = engine.complete("abc", max_tokens=40, temperature=0, ignore_eos=True).text
        cut = engine.complete("abc", max_tokens=900, temperature=0, ignore_eos=True, stop=whole[9:12])
        assert cut.json()["choices"][0]["finish_reason"] == "stop"
        wait_until(lambda: engine.health()["busy"] == 0, within_seconds=5, what="nothing runs")
        assert engine.metric("kv_tokens") == 0
