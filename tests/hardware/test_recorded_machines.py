"""What is chosen on machines that were recorded from public facts, and why not the rest."""

from functools import cache
from pathlib import Path

import pytest

from appliance.hardware import MachineFacts, Recognition, read_profiles, recognise
from appliance.hardware.places import SHIPPED

MACHINES = Path(__file__).parent / "machines"
PROFILES, _ = read_profiles([SHIPPED])
CHOSEN = {
    "a100-80gb-server": "nvidia-a100",
    "alder-lake-office-pc": "intel-igpu",
    "ampere-altra-server": "cpu-arm",
    "arc-a770-pc": "intel-arc",
    "arc-b580-pc": "intel-arc",
    "arrow-lake-desktop": "intel-npu-series1",
    "eight-b200-server": "8 x nvidia-blackwell",
    "eight-h100-server": "8 x nvidia-h100",
    "graviton3-server": "cpu-arm",
    "gtx-1060-pc-nouveau": "cpu-x86-avx2",
    "haswell-office-pc": "cpu-x86-avx2",
    "iris-xe-windows-office-pc": "vulkan-any",
    "ivy-bridge-office-pc": "cpu-x86",
    "jetson-agx-orin": "nvidia-jetson",
    "l40s-server": "nvidia-l40s",
    "lunar-lake-laptop": "intel-npu-series2",
    "mac-studio-m2-ultra": "apple-mlx",
    "macbook-pro-m4-max": "apple-mlx",
    "meteor-lake-laptop": "intel-npu-series1",
    "meteor-lake-laptop-old-kernel": "cpu-x86-avx2",
    "panther-lake-laptop": "intel-npu-series3",
    "phoenix-laptop": "vulkan-any",
    "qemu-virtual-machine": "cpu-x86",
    "radeon-pro-w7900-workstation": "amd-radeon-rocm",
    "radeon-rx-6600-pc": "amd-radeon-vulkan",
    "raspberry-pi-5": "cpu-arm",
    "rtx-3060-pc": "nvidia-rtx-30",
    "rtx-4090-pc": "nvidia-rtx-40",
    "rtx-5090-pc": "nvidia-rtx-50",
    "rtx-5090-pc-old-driver": "vulkan-any",
    "rtx-a6000-cad-station": "nvidia-a6000",
    "rtx-pro-6000-blackwell-server": "4 x nvidia-rtx-pro-6000-vllm",
    "sapphire-rapids-server": "cpu-x86-amx",
    "strix-halo-mini-pc": "amd-strix-halo-rocm",
    "strix-halo-mini-pc-96-gib-carved-out": "amd-strix-halo-rocm",
    "strix-point-laptop": "amd-xdna",
    "two-rtx-a4000-cad-station": "2 x nvidia-rtx-30",
    "zen-4-server": "cpu-x86-avx512",
}
WHY_NOT = {
    (
        "meteor-lake-laptop-old-kernel",
        "intel-npu-series1",
    ): "It needs the driver intel_vpu, and it has no driver.",
    ("meteor-lake-laptop", "intel-igpu"): "It fits, and Intel NPU 3720",
    ("rtx-5090-pc-old-driver", "nvidia-rtx-50"): "It needs driver >=570, and this is 550.144.03.",
    ("rtx-5090-pc-old-driver", "nvidia-vulkan"): "Vulkan does not list it.",
    ("gtx-1060-pc-nouveau", "nvidia-vulkan"): "Install NVIDIA's driver",
    ("iris-xe-windows-office-pc", "intel-igpu"): "Known not to work",
    ("haswell-office-pc", "vulkan-any"): "The engine llama.cpp/vulkan",
    ("phoenix-laptop", "amd-xdna-series1"): "The engine",
    ("l40s-server", "nvidia-rtx-40"): "It fits, and",
    ("mac-studio-m2-ultra", "apple-metal"): "It fits, and Apple silicon by MLX",
}


@cache
def recognised(machine: str) -> Recognition:
    record = (MACHINES / f"{machine}.json").read_text()
    return recognise(MachineFacts.model_validate_json(record), PROFILES)


def test_at_least_twenty_five_machines_are_recorded_each_with_its_source() -> None:
    files = {
        file.stem: MachineFacts.model_validate_json(file.read_text()) for file in MACHINES.glob("*.json")
    }
    assert files.keys() == CHOSEN.keys() and len(files) >= 25
    assert not [name for name, facts in files.items() if not facts.source.startswith("https://")]


@pytest.mark.parametrize("machine", CHOSEN)
def test_the_choice_is_the_expected_one(machine: str) -> None:
    choice = recognised(machine).choice
    assert choice is not None
    times = f"{choice.count} x " if choice.count > 1 else ""
    assert f"{times}{choice.profile.name}" == CHOSEN[machine]
    assert choice.because


@pytest.mark.parametrize("machine", CHOSEN)
def test_everything_that_is_not_chosen_has_a_reason(machine: str) -> None:
    recognition = recognised(machine)
    assert all(reason for _, reason in recognition.others)
    # graphics and accelerators of today are known; a display that is older than Vulkan may not be
    assert {device.pci for device in recognition.unknown} <= {"8086:0152", "8086:0412"}


@pytest.mark.parametrize(("machine", "profile"), WHY_NOT)
def test_the_reason_says_what_is_the_matter(machine: str, profile: str) -> None:
    reasons = {each.profile.name: reason for each, reason in recognised(machine).others}
    assert WHY_NOT[machine, profile] in reasons[profile]


def test_without_intels_drivers_outside_of_the_kernel_the_processor_is_taken_and_why_is_said() -> None:
    record = (MACHINES / "lunar-lake-laptop.json").read_text()
    facts = MachineFacts.model_validate_json(record)
    bare = facts.model_copy(
        update={"engines": frozenset({"llama.cpp/cpu", "openvino/cpu"}), "runtimes": {"openvino": "2026.2.0"}}
    )
    found = recognise(bare, PROFILES)
    assert found.choice is not None and found.choice.profile.name == "cpu-x86-avx2"
    reasons = {each.profile.name: reason for each, reason in found.others}
    assert reasons["intel-igpu"].startswith("Intel's OpenCL driver is not installed")
    assert "intel-opencl-icd" in reasons["intel-igpu"]
    assert reasons["intel-npu-series2"].startswith("Intel's Level Zero NPU driver is not installed")
    assert "github.com/intel/linux-npu-driver" in reasons["intel-npu-series2"]


def test_a_switch_between_cards_and_the_display_of_a_server_are_no_accelerators() -> None:
    for machine in ("eight-h100-server", "sapphire-rapids-server", "qemu-virtual-machine"):
        assert recognised(machine).unknown == ()
