"""Inventories as people send them: each machine recognised by the real profiles, each wrong line told."""

import sys
from pathlib import Path

import pytest

from appliance.hardware import MachineFacts, read_profiles
from appliance.hardware.facts import Device
from appliance.hardware.places import SHIPPED
from appliance.placement.__main__ import main
from appliance.placement.inventory import (
    InventoryUnusable,
    Line,
    inventory_text,
    read_inventory,
    unknown_cards,
)
from appliance.placement.machine_facts import plain_name
from appliance.placement.parts import graphics_named, is_no_card, parts, processor_named
from appliance.placement.ways import figures_of

PROFILES, _ = read_profiles([SHIPPED])
FLEET = """\
name,count,cpu,cores,memory_gb,gpu,gpu_count,gpu_memory_gb,npu,hours,server
office PC,40,Intel Core i5-12400,6,16,,,,,8-18,
new laptop,20,Intel(R) Core(TM) Ultra 7 155H,16,32 GB,,,,yes,8:30-17:30,
thin laptop,5,Intel Core Ultra 7 258V,8,32,,,,yes,,
no npu,1,Intel Core Ultra 7 258V,8,32,,,,no,,
CAD station,4,AMD Ryzen 9 5950X,16,64,NVIDIA RTX A4000,2,,,,
server,1,Intel Xeon Gold 6430,32,256,NVIDIA L40S,,,,,
station,1,Intel Core i9-13900K,24,64,GeForce RTX 4060 Ti,,16,,,
box,1,AMD Ryzen AI Max+ 395,16,128,,,,,,
mac,2,Apple M2 Max,12,64,,,,,,
mlx mac,1,Apple M2 Max,12,64,,,,,,mlx
old,3,Intel Core i5-4590,4,8,,,,,,
radeon,1,AMD Ryzen 9 7950X,16,64,AMD Radeon PRO W7900,,,,,
cluster,1,AMD EPYC 9354,32,512,NVIDIA H100 80GB PCIe,4,,,,vllm
"""
CHOSEN = {
    "office PC": "intel-igpu",
    "new laptop": "intel-npu-series1",
    "thin laptop": "intel-npu-series2",
    "no npu": "intel-igpu",
    "CAD station": "nvidia-rtx-30",
    "server": "nvidia-l40s",
    "station": "nvidia-rtx-40",
    "box": "amd-strix-halo-rocm",
    "mac": "apple-metal",
    "mlx mac": "apple-mlx",
    "old": "cpu-x86-avx2",
    "radeon": "amd-radeon-rocm",
    "cluster": "nvidia-h100",
}


@pytest.mark.parametrize(("said", "has_npu"), [("oui", True), ("Non", False), ("ja", True), ("nein", False)])
def test_yes_and_no_are_read_in_the_language_of_the_list(said: str, has_npu: bool) -> None:
    line = Line.model_validate({"name": "PC", "cpu": "Core Ultra 7 258V", "memory_gb": "32", "npu": said})
    assert line.npu is has_npu


def test_each_machine_is_what_the_real_recognition_makes_of_it() -> None:
    kinds = {kind.name: kind for kind in read_inventory(FLEET, PROFILES)}
    chosen = {name: kind.recognition.choice for name, kind in kinds.items()}
    assert {name: choice and choice.profile.name for name, choice in chosen.items()} == CHOSEN
    assert kinds["office PC"].count == 40 and kinds["office PC"].hours == (8.0, 18.0)
    assert kinds["new laptop"].hours == (8.5, 17.5)
    assert len(kinds["office PC"].nodes()) == 40 and len(kinds["old"].nodes(7)) == 7


def test_a_machine_has_all_its_ways_with_the_memory_and_the_figures_of_each() -> None:
    kinds = {kind.name: kind.node.ways for kind in read_inventory(FLEET, PROFILES)}
    laptop = {way.name: way for way in kinds["new laptop"]}
    assert set(laptop) == {"openvino on NPU", "openvino on GPU", "llama.cpp on CPU", "openvino on CPU"}
    assert {way.memory for way in laptop.values()} == {"system"}
    cad = {way.name: way for way in kinds["CAD station"]}
    assert set(cad) == {"llama.cpp on cuda", "llama.cpp on CPU", "openvino on CPU"}
    card = cad["llama.cpp on cuda"]
    assert card.memory != cad["llama.cpp on CPU"].memory
    assert card.memory_bytes == pytest.approx(2 * (16 * 0.9 - 1) * 2**30), (
        "two cards of 16 GB, less what is kept back"
    )
    assert card.figures and card.figures.bytes_per_second == 448e9
    assert kinds["mac"][0].figures and kinds["mac"][0].figures.bytes_per_second == 400e9


ONLY_BY_VULKAN = {
    "GTX 1080 Ti", "GTX 1080", "GTX 1070", "V100S", "V100.*32", r"V100\b", "Quadro T1000", "T1000", r"T600\b",
}  # fmt: skip
"""Too old for CUDA 13, or with less memory than CUDA is used with."""


def test_every_card_of_the_list_is_recognised_as_its_own_kind_and_has_figures_of_its_own() -> None:
    for part in parts().graphics:
        text = plain_name(part)
        assert graphics_named(text) == part, text
        memory = part.memory_gb or 16
        server = "vllm" if any(name in text for name in ("A100", "A30", "H100", "H200", "B200")) else ""
        (kind,) = read_inventory(
            f"name,cpu,memory_gb,gpu,gpu_memory_gb,server\nx,AMD EPYC 7302,64,{text},{memory},{server}\n",
            PROFILES,
        )
        choice = kind.recognition.choice
        assert choice and choice.device and choice.device.pci == part.pci, text
        assert choice.profile.name != "vulkan-any", text
        assert choice.profile.name != "nvidia-vulkan" or part.name in ONLY_BY_VULKAN, text
        way = kind.node.ways[0]
        assert way.figures and way.memory_bytes > memory * 0.6 * 2**30, text


@pytest.mark.parametrize(
    ("text", "gigabytes", "gigabytes_per_second"),
    [
        ("NVIDIA T1000", 4, 160),
        ("NVIDIA T1000 8GB", 8, 160),
        ("Quadro RTX 4000", 8, 416),
        ("NVIDIA GeForce GTX 1660", 6, 192),
        ("NVIDIA GeForce GTX 1660 SUPER", 6, 288),
        ("Tesla V100-PCIE-16GB", 16, 900),
        ("Tesla V100-SXM2-32GB", 32, 900),
        ("AMD Radeon PRO W6800", 32, 512),
        ("NVIDIA RTX A1000", 8, 192),
    ],
)
def test_an_older_card_of_offices_has_its_memory_and_its_published_speed(
    text: str, gigabytes: float, gigabytes_per_second: float
) -> None:
    (kind,) = read_inventory(f"name,cpu,memory_gb,gpu\nx,Core i7-9700,32,{text}\n", PROFILES)
    card = kind.node.ways[0]
    assert card.memory_bytes == pytest.approx((gigabytes * 0.9 - 1) * 2**30)
    assert card.figures and card.figures.bytes_per_second == gigabytes_per_second * 1e9
    assert not unknown_cards([kind])


@pytest.mark.parametrize(
    "text",
    [
        "Intel UHD 770",
        "Intel(R) Iris(R) Xe Graphics",
        "Intel(R) HD Graphics 4600",
        "AMD Radeon(TM) Graphics",
        "AMD Radeon(TM) Vega 8 Graphics",
        "Radeon 780M",
        "Intel(R) Arc(TM) 140V GPU (16GB)",
        "Microsoft Basic Display Adapter",
        "-",
    ],
)
def test_graphics_inside_a_processor_are_no_card(text: str) -> None:
    lines = f"name,cpu,memory_gb,gpu\nwith,i5-12400,16,{text}\nwithout,i5-12400,16,\n"
    named, bare = read_inventory(lines, PROFILES)
    assert named.node.ways == bare.node.ways and not unknown_cards([named])


@pytest.mark.parametrize("text", ["Radeon RX 550", "Intel Arc A380 Graphics", "Intel Iris Xe MAX"])
def test_a_card_of_its_own_is_not_taken_for_graphics_inside_a_processor(text: str) -> None:
    assert not is_no_card(text)


def test_a_card_that_is_not_known_is_counted_as_none_and_named_with_its_lines() -> None:
    lines = "name,cpu,memory_gb,gpu\n" + "".join(f"x{n},i5-12400,16,Voodoo 2\n" for n in range(12))
    kinds = read_inventory(lines + "y,i5-12400,16,Voodoo 3\nz,i5-12400,16,\n", PROFILES)
    assert len({kind.node.ways for kind in kinds}) == 1
    many, one = unknown_cards(kinds)
    assert 'Lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more: the graphics card "Voodoo 2"' in many
    assert 'Line 14: the graphics card "Voodoo 3" is not known and is counted as none' in one


def test_a_day_without_end_is_refused_before_it_is_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = tmp_path / "machines.csv"
    machines.write_text("name,cpu,memory_gb\nPC,i5-12400,16\n")
    day = ["--employees", "99999", "--requests-per-day", "9999"]
    monkeypatch.setattr(sys, "argv", ["placement", "simulate", "--inventory", str(machines), *day])
    with pytest.raises(SystemExit, match="a million requests a day"):
        main()


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("13th Gen Intel(R) Core(TM) i5-1340P", {"avx2"}),
        ("Intel Core i5-1335U", {"avx2"}),
        ("Core i7-1255U", {"avx2"}),
        ("Core i7-13700H", {"avx2"}),
        ("Intel(R) Core(TM) 5 120U", {"avx2"}),
        ("Intel(R) N100", {"avx2"}),
        ("Core i7-1065G7", {"avx2", "avx512f"}),
        ("Intel Xeon E-2288G", {"avx2"}),
        ("Intel(R) Xeon(R) CPU E3-1245 v5 @ 3.50GHz", {"avx2"}),
        ("Intel(R) Xeon(R) w5-2465X", {"avx2", "avx512f", "amx_tile", "amx_int8"}),
        ("Threadripper PRO 5975WX", {"avx2"}),
    ],
)
def test_a_processor_of_offices_is_known_with_what_it_computes_by(text: str, flags: set[str]) -> None:
    part = processor_named(text)
    assert part and part.flags == flags


@pytest.mark.parametrize(
    ("text", "gigabytes", "gigabytes_per_second"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16, 576),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", 6, 336),
        ("NVIDIA GeForce RTX 5070 Ti Laptop GPU", 12, 672),
    ],
)
def test_a_card_of_a_laptop_is_not_taken_for_that_of_a_desk(
    text: str, gigabytes: float, gigabytes_per_second: float
) -> None:
    line = f"name,cpu,memory_gb,gpu\nx,Core i7-13700H,32,{text}\n"
    (kind,) = read_inventory(line, PROFILES)
    way = next(each for each in kind.node.ways if each.device == "cuda")
    assert way.memory_bytes == pytest.approx((gigabytes * 0.9 - 1) * 2**30)
    assert way.figures and way.figures.bytes_per_second == gigabytes_per_second * 1e9


@pytest.mark.parametrize(
    ("profile", "name", "gigabytes_per_second"),
    [
        ("nvidia-rtx-40", "NVIDIA GeForce RTX 4070 Laptop GPU", 256),
        ("nvidia-h100", "NVIDIA GH200 480GB", 4000),
        ("nvidia-h100", "NVIDIA H200", 4800),
        ("nvidia-h100", "NVIDIA H100 PCIe", 2000),
        ("nvidia-a100", "NVIDIA A800 80GB PCIe", 1935),
        ("nvidia-a100", "NVIDIA A100-SXM4-40GB", 1555),
    ],
)
def test_a_card_has_the_figures_of_its_own_name(profile: str, name: str, gigabytes_per_second: float) -> None:
    card = Device(pci="10de:0000", pci_class="0302", name=name)
    figures = figures_of(PROFILES[profile], MachineFacts(), card)
    assert figures and figures.bytes_per_second == gigabytes_per_second * 1e9


def test_a_spreadsheet_with_semicolons_decimal_commas_and_a_mark_in_front_is_read() -> None:
    (kind,) = read_inventory("\ufeffName;CPU;Memory GB\nPC;Intel Core i5-12400;15,8\n", PROFILES)
    assert kind.name == "PC" and 5 < kind.node.ways[0].memory_bytes / 2**30 < 7


WRONG = (
    ("", "no line with a machine"),
    ("name,cpu,memory_gb\n", "no line with a machine"),
    ("name,cpu\nx,y\n", 'the column "memory_gb" is missing'),
    ("name,cpu,memory_gb,colour\nx,y,8,red\n", 'there is no column "colour"'),
    ("name,cpu,memory_gb\nx,i5-12400,lots\n", 'Line 2: "memory_gb": "lots" is not a number'),
    ("name,cpu,memory_gb\nx,i5-12400,8,9\n", "Line 2: it has 4 cells, and the heading 3"),
    ("name,cpu,memory_gb,count\nx,i5-12400,8,-3\n", 'Line 2: "count"'),
    ("name,cpu,memory_gb\nx,i5-12400,8\nx,i5-12400,8\n", 'Line 3: the name "x" is on line 2 already'),
    ("name,cpu,memory_gb,gpu\nx,i5-12400,8,RTX 4060 Ti\n", "gpu_memory_gb must say which"),
    ("name,cpu,memory_gb,hours\nx,i5-12400,8,18-8\n", "the first before the second"),
    ("name,cpu,memory_gb,hours\nx,i5-12400,8,always\n", 'Line 2: "hours"'),
    ("name,cpu,memory_gb,system\nx,i5-12400,8,beos\n", 'Line 2: "system"'),
    ("name,cpu,memory_gb,count\nx,i5-12400,8,2000\ny,i5,8,2000\nz,i5,8,2000\n", "more than 5000"),
    ("name,cpu,memory_gb\nx,i5-12400,8\0\n", "This is no CSV text"),
    (f'name,cpu,memory_gb\nx,"{"i" * 200_000}",8\n', "Line 2: a cell has no end"),
    (f"name,cpu,memory_gb\nx,{'i' * 200},8\n", 'Line 2: "cpu": it has more than 120 characters'),
    ('name,cpu,memory_gb\nx,i5-12400,8\n\n"y,i5-12400,8\nz,i5-12400,8\n', "Line 4: a quotation mark"),
    ('name,cpu,memory_gb\n"x"y,i5-12400,8\n', "Line 2: a quotation mark"),
    ('name,cpu,memory_gb\n"x\ny",i5-12400,\n', 'Line 2: "memory_gb": it is missing'),
    ("# ours\nname,name,cpu,memory_gb\n", 'Line 2: the column "name" is there twice'),
    ("name,cpu,memory_gb,count\nPC,i5,8,2\nPC 1,i5,8,1\n", 'one of the 2 machines "PC" on line 2'),
    ("name,cpu,memory_gb,cores\nPC,i5,8,1.5\n", 'Line 2: "cores": it must be a whole number'),
    ("name,cpu,memory_gb,npu\nPC,i5,8,perhaps\n", 'Line 2: "npu": it must be yes or no'),
    ("name,cpu,memory_gb,server\nPC,i5,8,tgi\n", 'Line 2: "server": it must be one of: vllm, mlx'),
    ("name,cpu,memory_gb\n" + 99 * "PC,i5,lots\n", "There are 79 more mistakes"),
)


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_wrong_inventory_is_refused_with_a_sentence_for_each_line(text: str, said: str) -> None:
    with pytest.raises(InventoryUnusable) as refused:
        read_inventory(text, PROFILES)
    assert said in str(refused.value)


def test_a_file_is_read_as_spreadsheets_of_each_kind_write_it() -> None:
    for written in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        text = inventory_text("name;cpu;memory_gb\r\nRéception;i5-12400;8\r\n".encode(written))
        assert [kind.name for kind in read_inventory(text, PROFILES)] == ["Réception"], written
    with pytest.raises(InventoryUnusable, match="no CSV text"):
        inventory_text(b"PK\x03\x04\x00\x00")


def test_names_that_only_look_like_a_number_of_another_line_are_let_be() -> None:
    text = "name,count,cpu,memory_gb\nPC,2,i5-12400,8\nPC 3,1,i5-12400,8\nPC 1,2,i5-12400,8\n"
    names = [node.id for kind in read_inventory(text, PROFILES) for node in kind.nodes()]
    assert names == ["PC 1", "PC 2", "PC 3", "PC 1 1", "PC 1 2"]


def test_every_wrong_line_is_told_at_once_and_nothing_is_taken() -> None:
    with pytest.raises(InventoryUnusable) as refused:
        read_inventory("name,cpu,memory_gb\na,i5-12400,x\nb,i5-12400,8\n,i5-12400,8\n", PROFILES)
    assert "Line 2" in str(refused.value) and "Line 4" in str(refused.value)


def test_a_processor_that_is_not_known_is_noted() -> None:
    (kind,) = read_inventory("name,cpu,memory_gb\nx,Zhaoxin KX-7000,16\n", PROFILES)
    assert "without AVX2" in kind.notes[0]
    assert kind.recognition.choice and kind.recognition.choice.profile.name == "cpu-x86"
