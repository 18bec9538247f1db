"""The files of hwprofiles/: valid, with sources, and told in sentences what is wrong with one that isn't."""

from pathlib import Path

import pytest

from appliance.hardware import ProfileUnusable, profile_folders, profiles_in, read_profile, read_profiles
from appliance.hardware.gathering import DEBIAN_PACKAGES
from appliance.hardware.places import SHIPPED
from appliance.hardware.profile import Exercised, Kind
from appliance.settings import Settings

VALID = """
title = "A card"
kind = "gpu"
preference = 50
exercised = "configured"
sources = ["https://example.org/card"]
formats = ["gguf:Q4_K_M"]
[[recognise]]
pci = ["1234:5678"]
[engine]
name = "llama.cpp"
backend = "vulkan"
[memory]
of = "device"
share = 0.9
[answers]
parallel = 4
[power]
idle_watts = 10
busy_watts = 100
source = "https://example.org/watts"
[health]
prompt = "What colour is the sky?"
expects = "blue"
limit_seconds = 60
"""
WANTED_KINDS = {
    "intel-npu-series1": Kind.NPU,
    "intel-npu-series2": Kind.NPU,
    "intel-npu-series3": Kind.NPU,
    "intel-igpu": Kind.GPU,
    "intel-arc": Kind.GPU,
    "amd-xdna": Kind.NPU,
    "amd-radeon-rocm": Kind.GPU,
    "amd-strix-halo-rocm": Kind.GPU,
    "amd-radeon-vulkan": Kind.GPU,
    "nvidia-rtx-30": Kind.GPU,
    "nvidia-rtx-40": Kind.GPU,
    "nvidia-rtx-50": Kind.GPU,
    "nvidia-a6000": Kind.GPU,
    "nvidia-l40s": Kind.GPU,
    "nvidia-a100": Kind.GPU,
    "nvidia-h100": Kind.GPU,
    "nvidia-blackwell": Kind.GPU,
    "nvidia-jetson": Kind.GPU,
    "apple-metal": Kind.GPU,
    "apple-mlx": Kind.GPU,
    "cpu-x86-avx2": Kind.CPU,
    "cpu-x86-avx512": Kind.CPU,
    "cpu-x86-amx": Kind.CPU,
    "cpu-arm": Kind.CPU,
    "vulkan-any": Kind.GPU,
}


def write(folder: Path, text: str, name: str = "card.toml") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def test_every_profile_that_ships_is_valid_and_none_is_missing() -> None:
    profiles, unusable = read_profiles([SHIPPED])
    assert unusable == ()
    assert {name: profiles[name].kind for name in WANTED_KINDS} == WANTED_KINDS


def test_the_readme_lists_each_profile_with_what_was_exercised() -> None:
    profiles, _ = read_profiles([SHIPPED])
    rows = {
        f"| {profile.name} | {profile.engine_name} | {profile.exercised.value} |"
        for profile in profiles.values()
    }
    table = (SHIPPED / "README.md").read_text().split("## What was tried")[1].partition("## ")[0]
    assert {line for line in table.splitlines() if line.startswith("| ")} - rows == {
        "| profile | engine | exercised |"
    }
    assert rows <= set(table.splitlines())


def test_every_library_that_a_profile_names_is_one_that_is_looked_for() -> None:
    profiles, _ = read_profiles([SHIPPED])
    named = {
        name
        for profile in profiles.values()
        for runtime in (profile.needs.runtime, *(bad.runtime for bad in profile.bad))
        for name in runtime
    }
    assert named <= {"openvino", "mlx", "rocm", *DEBIAN_PACKAGES.values()}


def test_what_was_tried_on_hardware_is_what_there_was_to_try_on() -> None:
    profiles, _ = read_profiles([SHIPPED])
    tried = {name for name, profile in profiles.items() if profile.exercised is Exercised.HARDWARE}
    assert tried <= {"cpu-x86-avx2", "cpu-x86-avx512", "cpu-x86-amx"}


@pytest.mark.parametrize(
    ("instead", "by", "sentence"),
    [
        ("preference", "preferrence", 'there is no "preferrence". Is "preference" meant?'),
        ('backend = "vulkan"', "", '"backend" is missing in [engine].'),
        ('backend = "vulkan"', 'backend = "vulkan"\nthreads = 2', 'there is no "threads" in [engine].'),
        ("share = 0.9", "share = 1.5", '"share" in [memory]: Input should be less than or equal to 1'),
        ('kind = "gpu"', 'kind = "tpu"', "\"kind\": Input should be 'npu', 'gpu' or 'cpu' (it is 'tpu')."),
        ("[answers]", "[needs]\nkernel = 'six'\n[answers]", '"kernel" in [needs] is not a range of versions'),
        ('pci = ["1234:5678"]', 'pcie = ["1:2"]', 'no "pcie" in [recognise] number 1. Is "pci" meant?'),
        ('pci = ["1234:5678"]', 'pci = ["GeForce"]', "String should match pattern"),
        ('pci = ["1234:5678"]', 'processor = "PC ("', '"processor" in [recognise] number 1 is not a regular'),
        ('pci = ["1234:5678"]', "", "names no sign, and would hold for every machine"),
        ("[engine]", "[engine", "card.toml is not TOML"),
        ("share = 0.9", "share = 0.9\nreserve_gib = inf", '"reserve_gib" in [memory]: Input should be'),
        ("gguf:Q4_K_M", "ggfu:Q4_K_M", "Number 1 in [formats] begins with no family of model files"),
        ('backend = "vulkan"', 'backend = "vulcan"', "llama.cpp has no backend 'vulcan', only cpu, cuda"),
        ("[answers]", "[[bad]]\nbecause='b'\nsource='https://b'\n[answers]", "names no version"),
        ("[engine]", "[5]\n[engine]", 'there is no "5".'),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_told_in_sentences(
    tmp_path: Path, instead: str, by: str, sentence: str
) -> None:
    assert instead in VALID
    with pytest.raises(ProfileUnusable) as told:
        read_profile(write(tmp_path, VALID.replace(instead, by, 1)))
    assert sentence in told.value.sentence, told.value.sentence


def test_more_answers_at_once_than_an_engine_gives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileUnusable, match='"parallel"'):
        read_profile(write(tmp_path, VALID.replace("parallel = 4", "parallel = 129")))


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = VALID.replace("title", "titel").replace("parallel = 4", "parallel = 0")
    with pytest.raises(ProfileUnusable) as told:
        read_profile(write(tmp_path, text))
    said = told.value.sentence
    assert '"title" is missing.' in said and 'Is "title" meant?' in said and '"parallel" in [answers]' in said


def test_a_customers_own_file_wins_and_a_broken_one_takes_nothing_away(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    shipped, own = tmp_path / "shipped", profile_folders(settings)[-1]
    write(shipped, VALID)
    own.parent.mkdir()
    write(own, VALID.replace("A card", "Our card"))
    profiles, unusable = read_profiles([shipped, own])
    assert profiles["card"].title == "Our card" and not unusable
    write(own, "title = 1")
    profiles, unusable = read_profiles([shipped, own])
    assert profiles["card"].title == "A card"
    assert "card.toml" in unusable[0].sentence


def test_an_editors_lock_and_a_link_to_nowhere_beside_a_file_take_nothing_away(tmp_path: Path) -> None:
    own = write(tmp_path, VALID)
    (tmp_path / ".#card.toml").symlink_to("ana@desk.4711:1")
    (tmp_path / "._card.toml").write_bytes(b"\0\5\x16\7 of a Mac")
    profiles, unusable = profiles_in([tmp_path])
    assert set(profiles) == {"card"} and not unusable
    (tmp_path / "gone.toml").symlink_to("nowhere")
    profiles, unusable = profiles_in([tmp_path])
    assert set(profiles) == {"card"} and "gone.toml" in unusable[0].sentence
    own.unlink()
    assert not profiles_in([tmp_path])[0]


def test_every_setting_of_a_profile_is_one_that_its_engine_takes() -> None:
    from appliance.engines.engine import SETTINGS
    from appliance.engines.openvino.devices import NPU_SETTINGS

    profiles, _ = read_profiles([SHIPPED])
    known = {("llama.cpp", ""): SETTINGS, ("openvino", "NPU"): NPU_SETTINGS}
    checked = 0
    for profile in profiles.values():
        engine = profile.engine
        names = known.get((engine.name, ""), known.get((engine.name, engine.backend)))
        if names is not None:
            assert set(engine.settings) <= names, profile.name
            checked += len(engine.settings)
    assert checked > 20
