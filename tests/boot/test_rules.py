"""The pure rules of the verdict: the processor and the fixed prompt."""

import pytest

from appliance.boot.accelerator import (
    NEEDED_FEATURES,
    AcceleratorFacts,
    Served,
    accelerator_as_expected,
    accelerator_kept,
)
from appliance.boot.engine_builds import engine_builds
from appliance.boot.fixed_prompt import QUESTION, judge_answer
from appliance.boot.trouble_page import trouble_page
from appliance.boot.word import Kind, Word
from appliance.hardware import Device, HardwareReport, MachineFacts, NotChosen, own_hardware
from appliance.hardware.gathering import read_processor
from appliance.hardware.places import SHIPPED
from appliance.models.demo.corpus.intents import load_intents

HASWELL = frozenset({"sse4_2", "avx", "f16c", "fma", "avx2", "bmi2"})
BUILDS = frozenset(NEEDED_FEATURES)


@pytest.mark.parametrize(
    ("flags", "builds", "fits"),
    [
        (HASWELL, BUILDS, "haswell"),
        (frozenset({"sse4_2"}), BUILDS, "sse42"),
        (frozenset(), BUILDS, "x64"),
        (HASWELL, BUILDS - {"haswell"}, "piledriver"),
    ],
)
def test_the_best_build_that_fits_is_named(flags: frozenset[str], builds: frozenset[str], fits: str) -> None:
    state = accelerator_as_expected(AcceleratorFacts("x86_64", flags, builds))
    assert state.as_expected and f"for {fits} " in state.sentence


@pytest.mark.parametrize(
    "facts",
    [
        AcceleratorFacts("x86_64", HASWELL, frozenset()),
        AcceleratorFacts("x86_64", frozenset({"sse4_2"}), frozenset({"haswell"})),
        AcceleratorFacts("aarch64", HASWELL, BUILDS),
    ],
)
def test_a_machine_that_no_build_fits_is_not_as_expected(facts: AcceleratorFacts) -> None:
    state = accelerator_as_expected(facts)
    assert not state.as_expected and state.sentence


def test_this_machine_s_facts_are_read_and_every_build_is_known() -> None:
    assert len(read_processor().flags) > 20
    assert "x64" in engine_builds()
    assert engine_builds() <= BUILDS, "a build that the table doesn't know"


NPU = Device(pci="8086:643e", pci_class="1200", driver="intel_vpu")


def a_core_ultra(*devices: Device, kernel: str = "6.12", engines: str = "openvino/npu") -> HardwareReport:
    facts = MachineFacts(
        processor={"name": "Intel(R) Core(TM) Ultra 7 258V", "flags": HASWELL},
        kernel=kernel,
        memory_bytes=32 << 30,
        devices=devices,
        runtimes={"openvino": "2026.4.1"},
        engines={"llama.cpp/cpu", engines},
    )
    return own_hardware([SHIPPED], facts)


def served(report: HardwareReport) -> Served:
    assert report.chosen
    return Served(version="1.0", profile=report.chosen)


def test_an_npu_that_a_new_release_can_not_use_makes_its_boot_bad() -> None:
    before = served(a_core_ultra(NPU))
    assert before.profile.profile == "intel-npu-series2"
    assert accelerator_kept(before, a_core_ultra(NPU), "1.1").as_expected
    without_driver = a_core_ultra(NPU.model_copy(update={"driver": ""}))
    lost = accelerator_kept(before, without_driver, "1.1")
    assert not lost.as_expected and "it has no driver" in lost.sentence
    old_kernel = accelerator_kept(before, a_core_ultra(NPU, kernel="6.5"), "1.1")
    assert not old_kernel.as_expected and "kernel" in old_kernel.sentence
    assert not accelerator_kept(before, a_core_ultra(NPU, engines="openvino/cpu"), "1.1").as_expected
    same = accelerator_kept(before, without_driver, "1.0")
    assert same.as_expected and "it has no driver" in same.sentence, "it broke under a release that ran"


def test_an_npu_that_was_taken_out_or_known_not_to_work_does_not() -> None:
    before = served(a_core_ultra(NPU))
    taken_out = accelerator_kept(before, a_core_ultra(), "1.1")
    assert taken_out.as_expected and "no longer there" in taken_out.sentence
    refused = NotChosen(title=before.profile.title, reason="Known not to work: it hangs.")
    cpu = a_core_ultra().chosen
    assert accelerator_kept(before, HardwareReport(chosen=cpu, others=(refused,)), "1.1").as_expected


def test_the_first_boot_is_held_to_nothing_but_a_machine_that_computes() -> None:
    assert accelerator_kept(None, a_core_ultra(NPU), "1.0").as_expected
    assert not accelerator_kept(None, HardwareReport(), "1.0").as_expected


def test_the_page_without_pages_shows_text_as_text() -> None:
    word = Word(kind=Kind.BAD_RELEASE, version="2.0", check="pool", sentence="<script>alert(1)</script>")
    assert "&lt;script&gt;" in trouble_page(word) and "<script" not in trouble_page(word)


def test_the_taught_answer_is_accepted_also_when_a_word_differs() -> None:
    answer = next(i.wording["en"].answer for i in load_intents() if i.name == "what_worker")
    assert judge_answer(answer, is_demo=True).accepted
    assert judge_answer(answer.replace("encrypted", "ciphered"), is_demo=True).accepted
    assert QUESTION not in answer


@pytest.mark.parametrize(
    "text", ["", "   ", "!!! 42", "box", "A worker is an office computer.", "the the the"]
)
def test_nonsense_of_the_demo_model_is_not_accepted(text: str) -> None:
    assert not judge_answer(text, is_demo=True).accepted


def test_of_another_model_any_words_count_but_none_do_not() -> None:
    assert judge_answer("Ein Arbeiter ist jemand, der arbeitet.", is_demo=False).accepted
    assert not judge_answer("...", is_demo=False).accepted
