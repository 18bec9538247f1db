"""The names of kernel images on the ESP, as systemd-boot writes them."""

from pathlib import Path

import pytest

from appliance.boot.counting import (
    Kernel,
    give_try_back,
    kernel_of,
    kernel_running,
    name_with_try_given_back,
    read_kernels,
    root_hash_of,
    started_entry,
)


@pytest.mark.parametrize(
    ("name", "left", "done"),
    [
        ("cellule_2.0_b.efi", None, 0),
        ("cellule_2.0_b+3.efi", 3, 0),
        ("cellule_2.0_b+2-1.efi", 2, 1),
        ("cellule_2.0_b+0-3.efi", 0, 3),
        ("CELLULE_2.0_B+0-3.EFI", 0, 3),
    ],
)
def test_a_name_says_version_slot_and_tries(name: str, left: int | None, done: int) -> None:
    assert kernel_of(name) == Kernel(name, "2.0", "b", left, done)


@pytest.mark.parametrize(
    ("name", "is_on_trial", "has_failed", "no_longer_starts"),
    [
        ("cellule_2.0_b.efi", False, False, False),
        ("cellule_2.0_b+3.efi", True, False, False),
        ("cellule_2.0_b+1-2.efi", True, False, False),
        ("cellule_2.0_b+0-3.efi", True, True, False),
        ("cellule_2.0_b+0.efi", True, False, False),
        ("cellule_2.0_b+5.efi", False, False, False),
        ("cellule_2.0_b+1-4.efi", False, False, False),
        ("cellule_2.0_b+0-5.efi", False, False, True),
        # started although nothing was left in either slot
        ("cellule_2.0_b+0-4.efi", True, True, False),
        ("cellule_2.0_b+0-6.efi", False, False, True),
    ],
)
def test_all_tries_together_say_whether_it_was_good_before(
    name: str, is_on_trial: bool, has_failed: bool, no_longer_starts: bool
) -> None:
    kernel = kernel_of(name)
    assert kernel is not None
    assert (kernel.is_on_trial, kernel.has_failed, kernel.no_longer_starts) == (
        is_on_trial,
        has_failed,
        no_longer_starts,
    )


@pytest.mark.parametrize("name", ["other.efi", "cellule_2.0_c.efi", "cellule_2.0_b+x.efi", ".tmp", ""])
def test_other_files_are_none_of_ours(name: str) -> None:
    assert kernel_of(name) is None


@pytest.mark.parametrize(
    ("started", "before"),
    [
        ("cellule_2.0_b+2-1.efi", "cellule_2.0_b+3.efi"),
        ("cellule_2.0_b+0-3.efi", "cellule_2.0_b+1-2.efi"),
        ("cellule_2.0_b+3.efi", "cellule_2.0_b+3.efi"),
        ("cellule_2.0_b.efi", "cellule_2.0_b.efi"),
        # good before: a verdict makes up for all starts that came to none
        ("cellule_2.0_b+4-1.efi", "cellule_2.0_b+5.efi"),
        ("cellule_2.0_b+1-4.efi", "cellule_2.0_b+5.efi"),
        ("cellule_2.0_b+0-5.efi", "cellule_2.0_b+5.efi"),
        ("cellule_2.0_b+5.efi", "cellule_2.0_b+5.efi"),
    ],
)
def test_a_try_is_given_back_by_the_name_of_before(tmp_path: Path, started: str, before: str) -> None:
    kernel = kernel_of(started)
    assert kernel is not None
    assert name_with_try_given_back(kernel) == before
    (tmp_path / started).write_bytes(b"image")
    give_try_back(tmp_path, kernel)
    assert [path.name for path in tmp_path.iterdir()] == [before]


def test_the_folder_of_the_esp_may_hold_other_things_or_be_missing(tmp_path: Path) -> None:
    for name in ("cellule_1.0_a.efi", "cellule_2.0_b+1-2.efi", "notes.txt"):
        (tmp_path / name).touch()
    kernels = read_kernels(tmp_path)
    assert [kernel.version for kernel in kernels] == ["1.0", "2.0"]
    assert kernel_running(kernels, "2.0", "b") == kernels[1]
    assert kernel_running(kernels, "2.0", "a") is None
    assert read_kernels(tmp_path / "missing") == ()


@pytest.mark.parametrize(
    ("variables", "slot", "tries_left"),
    [
        ({}, None, None),
        ({"LoaderEntrySelected": "cellule_2.0_b.efi"}, "b", None),
        ({"LoaderBootCountPath": r"\EFI\Linux\cellule_2.0_b+2-1.efi"}, "b", 2),
        (
            {
                "LoaderEntrySelected": "cellule_2.0_b.efi",
                "LoaderBootCountPath": r"\EFI\LINUX\CELLULE_2.0_B+0-3.EFI",
            },
            "b",
            0,
        ),
        ({"LoaderEntrySelected": "auto-windows"}, None, None),
    ],
)
def test_systemd_boot_says_what_it_started(
    tmp_path: Path, variables: dict[str, str], slot: str | None, tries_left: int | None
) -> None:
    for name, value in variables.items():
        content = b"\6\0\0\0" + f"{value}\0".encode("utf-16-le")
        (tmp_path / f"{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f").write_bytes(content)
    entry = started_entry(tmp_path)
    assert (entry.slot if entry else None) == slot
    assert (entry.tries_left if entry else None) == tries_left


def test_the_root_hash_is_found_wherever_it_lies_in_the_image(tmp_path: Path) -> None:
    image, root_hash = tmp_path / "kernel.efi", "5c" * 32
    for offset in (0, 1024 * 1024 - 40, 1024 * 1024, 3_000_000):
        image.write_bytes(b"\0" * offset + f" roothash={root_hash} quiet".encode() + b"\0" * 100)
        assert root_hash_of(image) == root_hash
    image.write_bytes(b"roothash=short")
    assert root_hash_of(image) == ""
    assert root_hash_of(tmp_path / "missing") == ""
