"""Which slot starts: the script that RAUC and a good start call, on a folder of kernel images."""

import re
import subprocess
from pathlib import Path

import pytest

from appliance.boot.counting import TRIES_ON_TRIAL, TRIES_ONCE_GOOD
from appliance.host.linux import slots

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "rootfs" / "usr" / "lib" / "cellule" / "rauc-slots"


class Esp:
    """The folder, and what is said of it."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        for name in names:
            (folder / name).write_text(f"kernel {name}")

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            [str(SCRIPT), *words],
            env={"KERNELS": str(self.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("cellule_1.1.0_b.efi", "good"),
        ("cellule_1.1.0_b+3.efi", "good"),
        ("cellule_1.1.0_b+1-2.efi", "good"),
        ("cellule_1.1.0_b+0-3.efi", "bad"),
        ("cellule_1.1.0_b+0.efi", "bad"),
        ("cellule_1.1.0_b+5.efi", "good"),
        ("cellule_1.1.0_b+1-4.efi", "good"),
        ("cellule_1.1.0_b+0-5.efi", "bad"),
    ],
)
def test_a_slot_with_tries_left_is_good_and_the_highest_of_those_starts(
    tmp_path: Path, name: str, state: str
) -> None:
    esp = Esp(tmp_path, "cellule_1.0.0_a+5.efi", name)
    assert esp.ask("get-state", "a") == "good"
    assert esp.ask("get-state", "b") == state
    assert esp.ask("get-primary") == {"good": "b", "bad": "a"}[state]


@pytest.mark.parametrize(
    "name",
    ["cellule_1.1.0_b.efi", "cellule_1.1.0_b+2-1.efi", "cellule_1.1.0_b+1-4.efi", "cellule_1.1.0_b+5.efi"],
)
def test_a_good_start_gives_all_tries_of_a_release_that_was_good(tmp_path: Path, name: str) -> None:
    esp = Esp(tmp_path, "cellule_1.0.0_a+5.efi", name)
    esp.ask("set-state", "b", "good")
    assert esp.names == {"cellule_1.0.0_a+5.efi", f"cellule_1.1.0_b+{TRIES_ONCE_GOOD}.efi"}
    assert (tmp_path / f"cellule_1.1.0_b+{TRIES_ONCE_GOOD}.efi").read_text() == f"kernel {name}"


def test_a_slot_that_is_written_has_no_kernel_image(tmp_path: Path) -> None:
    esp = Esp(tmp_path, "cellule_1.0.0_a+5.efi", "cellule_1.1.0_b+0-5.efi")
    esp.ask("set-state", "b", "bad")
    assert esp.names == {"cellule_1.0.0_a+5.efi"}
    esp.ask("set-state", "b", "bad")
    esp.ask("set-state", "b", "good")
    assert esp.ask("get-state", "b") == "bad"
    assert esp.names == {"cellule_1.0.0_a+5.efi"}


def test_a_slot_is_chosen_with_the_tries_that_it_has_or_those_of_a_trial(tmp_path: Path) -> None:
    esp = Esp(tmp_path, "cellule_1.0.0_a+5.efi", "cellule_1.1.0_b+0-5.efi")
    esp.ask("set-primary", "b")
    assert esp.names == {"cellule_1.0.0_a+5.efi", f"cellule_1.1.0_b+{TRIES_ON_TRIAL}.efi"}
    esp.ask("set-primary", "a")
    assert esp.names == {"cellule_1.0.0_a+5.efi", "cellule_1.1.0_b+0.efi"}, "the newer one is put aside"
    assert esp.ask("get-primary") == "a"


def test_a_root_of_neither_slot_is_not_blessed(tmp_path: Path) -> None:
    esp = Esp(tmp_path, "cellule_1.0.0_a+4-1.efi")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        esp.ask("bless-current")
    assert "neither slot" in refused.value.stderr
    assert esp.names == {"cellule_1.0.0_a+4-1.efi"}


def test_whoever_names_kernel_images_counts_by_the_same_numbers() -> None:
    script, hook = SCRIPT.read_text(), (ROOT / "image" / "bundle-hook").read_text()
    for text in (script, hook):
        assert re.search(rf"^TRIES_ON_TRIAL={TRIES_ON_TRIAL}$", text, re.MULTILINE)
    assert re.search(rf"^TRIES_ONCE_GOOD={TRIES_ONCE_GOOD}$", script, re.MULTILINE)
    assert slots.TRIES_ONCE_GOOD == TRIES_ONCE_GOOD
