"""Recognition, one rule at a time, over a machine and profiles that are made for it."""

from typing import Any

import pytest

from appliance.hardware import Device, MachineFacts, Processor, Profile, recognise, told
from appliance.hardware.tools import nvidia_cards, rocm_architectures, vulkan_devices
from appliance.hardware.versions import is_in

GIB = 2**30
CARD = Device(pci="abcd:5678", pci_class="0300", driver="good", driver_version="5.2", memory_bytes=16 * GIB)
FACTS = MachineFacts(
    model="Test PC",
    kernel="6.14.0-33-generic",
    processor=Processor(name="Some CPU", flags=frozenset({"avx2", "fma"}), cores=8),
    memory_bytes=32 * GIB,
    devices=(CARD,),
    runtimes={"rocm": "6.4.1"},
    engines=frozenset({"llama.cpp/cpu", "llama.cpp/vulkan", "llama.cpp/rocm"}),
)
BASE: dict[str, Any] = {
    "title": "A card",
    "kind": "gpu",
    "preference": 50,
    "exercised": "configured",
    "sources": ["https://example.org"],
    "recognise": [{"pci": ["abcd:*"]}],
    "engine": {"name": "llama.cpp", "backend": "vulkan"},
    "memory": {"of": "device", "share": 0.5, "reserve_gib": 1},
    "answers": {"parallel": 4},
    "power": {"idle_watts": 1, "busy_watts": 2, "source": "https://example.org"},
    "health": {"prompt": "x", "expects": "y", "limit_seconds": 1},
    "formats": ["gguf:Q4_K_M"],
}
CPU = {
    "title": "A processor",
    "kind": "cpu",
    "preference": 10,
    "recognise": [{"architecture": ["x86_64"], "flags": ["avx2"]}],
    "engine": {"name": "llama.cpp", "backend": "cpu"},
    "memory": {"of": "system", "share": 0.5},
}


def profile(name: str = "card", **given: Any) -> Profile:
    return Profile.model_validate({**BASE, **given, "name": name})


def with_device(**given: Any) -> MachineFacts:
    return FACTS.model_copy(update={"devices": (CARD.model_copy(update=given),)})


def why_not(facts: MachineFacts, **given: Any) -> str:
    """What stands in the way of the card."""
    recognition = recognise(facts, {"card": profile(**given), "cpu": profile("cpu", **CPU)})
    assert recognition.choice is not None and recognition.choice.profile.name == "cpu"
    [(_, reason)] = recognition.others
    return reason


def test_the_preferred_one_that_fits_is_taken_and_the_other_says_why_not() -> None:
    recognition = recognise(FACTS, {"card": profile(), "cpu": profile("cpu", **CPU)})
    choice = recognition.choice
    assert choice is not None and choice.profile.name == "card" and choice.device == CARD
    assert choice.because == ("device abcd:5678",)
    assert choice.model_bytes == 7 * GIB
    assert [(each.profile.name, reason) for each, reason in recognition.others] == [
        ("cpu", "It fits, and A card comes before it.")
    ]


@pytest.mark.parametrize(
    ("device", "needs", "reason"),
    [
        ({"driver": ""}, {"driver": ["good"]}, "It needs the driver good, and it has no driver."),
        ({"driver": "open"}, {"driver": ["good"]}, "It needs the driver good, and open drives it."),
        ({}, {"driver_version": ">=6"}, "It needs driver >=6, and this is 5.2."),
        ({}, {"kernel": ">=6.15"}, "It needs kernel >=6.15, and this is 6.14.0-33-generic."),
        ({"firmware": "1.0"}, {"firmware": ">=2"}, "It needs firmware >=2, and this is 1.0."),
        ({}, {"runtime": {"cuda": ">=12"}}, "It needs cuda >=12, which is not installed."),
        ({}, {"runtime": {"rocm": ">=7"}}, "It needs rocm >=7, and 6.4.1 is installed."),
        ({}, {"memory_gib": 24}, "It has 16 GiB of memory, and 24 are needed."),
    ],
)
def test_what_is_missing_is_said(device: dict[str, Any], needs: dict[str, Any], reason: str) -> None:
    assert why_not(with_device(**device), needs=needs) == reason


def test_what_mends_it_follows() -> None:
    needs = {"kernel": ">=7", "missing_is_mended_by": "Take a newer system."}
    assert why_not(FACTS, needs=needs).endswith(" Take a newer system.")


def test_an_engine_that_is_not_there_is_said() -> None:
    engine = {"name": "llama.cpp", "backend": "cuda"}
    assert why_not(FACTS, engine=engine) == "The engine llama.cpp/cuda can't be started here."


def test_a_combination_is_bad_only_when_all_of_it_holds() -> None:
    bad = {
        "kernel": "<6.15",
        "runtime": {"rocm": "==6.4.1"},
        "because": "it hangs.",
        "source": "https://e.org",
    }
    assert why_not(FACTS, bad=[bad]) == "Known not to work: it hangs."
    for other in ({"kernel": "<6.10"}, {"runtime": {"rocm": "<6"}}, {"firmware": "<9"}):
        choice = recognise(FACTS, {"card": profile(bad=[{**bad, **other}])}).choice
        assert choice is not None, other


def test_one_of_two_cards_that_is_given_to_somebody_else_leaves_the_other() -> None:
    lent = CARD.model_copy(update={"driver": "vfio-pci"})
    for devices in ((CARD, lent), (lent, CARD)):
        facts = FACTS.model_copy(update={"devices": devices})
        choice = recognise(facts, {"card": profile(needs={"driver": ["good"]})}).choice
        assert choice is not None and choice.count == 1 and choice.device == CARD


@pytest.mark.parametrize(("kind", "gib"), [("DISCRETE_GPU", 7), ("INTEGRATED_GPU", 15)])
def test_graphics_that_share_the_machines_memory_count_that_and_a_card_its_own(kind: str, gib: int) -> None:
    listed = f"""GPU0:
\tvendorID = 0xabcd
\tdeviceID = 0x5678
\tdeviceType = PHYSICAL_DEVICE_TYPE_{kind}
\tdeviceName = Card
"""
    facts = FACTS.model_copy(update={"tools": {"vulkaninfo": listed}})
    shared = {"of": "system", "share": 0.5, "reserve_gib": 1}
    choice = recognise(facts, {"any": profile("any", recognise=[{"vulkan": True}], memory=shared)}).choice
    assert choice is not None and choice.model_bytes == gib * GIB


def test_two_of_a_kind_with_the_same_memory_are_not_told_apart_by_it() -> None:
    other = CARD.model_copy(update={"pci": "abcd:9999"})
    recognition = recognise(FACTS.model_copy(update={"devices": (CARD, other)}), {"card": profile()})
    assert [reason for _, reason in recognition.others] == ["It is of the same kind, and one kind is taken."]


def test_the_same_card_twice_is_one_candidate_counted_twice() -> None:
    choice = recognise(FACTS.model_copy(update={"devices": (CARD, CARD)}), {"card": profile()}).choice
    assert choice is not None and choice.count == 2


def test_a_device_that_nobody_knows_is_named_and_a_network_card_is_not() -> None:
    stranger = Device(pci="dead:beef", pci_class="0302", name="Stranger")
    network = Device(pci="8086:15f3", pci_class="0200")
    facts = FACTS.model_copy(update={"devices": (stranger, network)})
    recognition = recognise(facts, {"card": profile(), "cpu": profile("cpu", **CPU)})
    assert recognition.unknown == (stranger,)
    text = told(facts, recognition)
    assert "Stranger dead:beef (no driver)" in text and "15f3" not in text


def test_a_sign_of_a_system_on_a_chip_needs_no_bus() -> None:
    soc = FACTS.model_copy(
        update={"devices": (), "architecture": "aarch64", "model": "NVIDIA Jetson AGX Orin"}
    )
    signs = [{"architecture": ["aarch64"], "machine_model": "Jetson.*Orin"}]
    recognition = recognise(soc, {"card": profile(recognise=signs, memory={"of": "system", "share": 0.5})})
    assert recognition.choice is not None and recognition.choice.model_bytes == 16 * GIB
    assert recognise(FACTS, {"card": profile(recognise=signs)}).choice is None


def test_a_machine_where_nothing_computes_says_so() -> None:
    facts = MachineFacts(architecture="riscv64")
    assert "Nothing here can compute answers." in told(facts, recognise(facts, {"card": profile()}))


def test_tools_are_read_as_they_print() -> None:
    [card] = nvidia_cards("NVIDIA GeForce RTX 4090, 0x268410DE, 24564 MiB, 570.86.15, 8.9\nnonsense\n")
    assert (card.pci, card.memory_bytes, card.compute_capability) == ("10de:2684", 24564 * 2**20, "8.9")
    assert rocm_architectures("  Name:                    gfx1151\n  Name: AMD RYZEN\n") == ("gfx1151",)
    printed = """GPU0:
\tvendorID           = 0x1002
\tdeviceID           = 0x73ff
\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
\tdeviceName         = AMD Radeon RX 6600
GPU1:
\tvendorID           = 0x10005
\tdeviceID           = 0x0000
\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU
\tdeviceName         = llvmpipe
"""
    radeon, software = vulkan_devices(printed)
    assert (radeon.name, radeon.pci, radeon.is_software) == ("AMD Radeon RX 6600", "1002:73ff", False)
    assert software.is_software


@pytest.mark.parametrize(
    ("version", "wanted", "holds"),
    [
        ("6.14.0-33-generic", ">=6.14", True),
        ("6.9.3", ">=6.14", False),
        ("570.86.15", ">=535,<580", True),
        ("32.0.101.6314", ">=32.0.101.5000", True),
        ("unknown", ">=1", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, wanted: str, holds: bool) -> None:
    assert is_in(version, wanted) is holds
