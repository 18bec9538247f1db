"""The program that makes the data partition ready (rootfs/usr/lib/cellule/data-partition), part by part.

Its functions run as they ship, on a real block device, a real FAT file system and a real LUKS2 volume; what
changes the table of partitions is recorded. The whole is started in a virtual machine (tests/image).
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.host.linux.recovery import make_recovery_key
from tests.host.image_root import image_root, put_on_path, write_program

pytestmark = pytest.mark.root
PROGRAM = Path(__file__).parents[2] / "rootfs/usr/lib/cellule/data-partition"
MAIN = "\nrm -f $STATE/*\n"
"""Where its functions end."""
MIB = 1024**2
WRITTEN = b"what people asked" * 2_000_000
MTOOLS = ("mdir", "mdel", "mtype", "mcopy")


@dataclass
class Bench:
    """`device` is a whole loop device; `folder` holds the ESP as a file and the state of this boot."""

    folder: Path
    device: Path

    def call(self, function: str) -> subprocess.CompletedProcess[str]:
        """One function of the program, with this bench's places."""
        functions, main = PROGRAM.read_text().split(MAIN)
        assert main
        places = f"disk=none STEP={16 * MIB} " + " ".join(
            f"{name}={self.folder}/{name.lower()}" for name in ("STATE", "DATA", "ESP")
        )
        script = f"{functions}\n{places}\n{function}\n"
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)

    def mark(self, name: str, says: str = "") -> None:
        put = ["mcopy", "-o", "-i", f"{self.folder}/esp", "-", f"::{name}"]
        subprocess.run(put, input=says, text=True, check=True)

    def has_mark(self, name: str) -> bool:
        return self.call(f"has_mark {name}").returncode == 0

    def content(self) -> bytes:
        subprocess.run(["blockdev", "--flushbufs", str(self.device)], check=True)
        return self.device.read_bytes()

    @property
    def trouble(self) -> str:
        path = self.folder / "state/trouble"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_root(tmp_path_factory.mktemp("image"))


@pytest.fixture
def bench(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    programs = ("cryptsetup", "systemd-cryptenroll", "blkdiscard", "wipefs", "mkfs.vfat", *MTOOLS)
    put_on_path(monkeypatch, tmp_path, root, *programs)
    for name in ("sfdisk", "partx"):
        write_program(tmp_path / "programs" / name, f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/called\n')
    (tmp_path / "state").mkdir()
    for name, size in (("esp", 4), ("disk", 40)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * MIB)
    subprocess.run(["mkfs.vfat", str(tmp_path / "esp")], check=True, capture_output=True)
    attach = ["losetup", "--find", "--show", str(tmp_path / "disk")]
    device = Path(subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip())
    (tmp_path / "data").symlink_to(device)
    yield Bench(tmp_path, device)
    subprocess.run(["losetup", "--detach", str(device)], check=True)


def test_without_a_mark_nothing_is_erased(bench: Bench) -> None:
    bench.device.write_bytes(WRITTEN)
    assert bench.call("erase_if_asked").returncode == 0
    assert bench.content().startswith(WRITTEN)


def test_what_was_never_encrypted_is_overwritten_to_the_end(bench: Bench) -> None:
    bench.device.write_bytes(WRITTEN)
    bench.mark("cellule-data")
    bench.mark("cellule-reset")
    erased = bench.call("erase_if_asked")
    assert erased.returncode == 0, erased.stderr
    assert "not encrypted, so all of its 1 GB of data are overwritten" in erased.stdout
    assert "Factory reset: 100 %" in erased.stdout
    assert not any(bench.content())
    assert "sfdisk --quiet --no-reread --delete" in (bench.folder / "called").read_text()
    assert not bench.has_mark("cellule-reset") and not bench.has_mark("cellule-data")


def test_after_a_power_cut_it_begins_again(bench: Bench) -> None:
    bench.device.write_bytes(WRITTEN)
    bench.mark("cellule-reset")
    working = (bench.folder / "programs/sfdisk").read_text()
    write_program(bench.folder / "programs/sfdisk", "#!/bin/sh\nexit 1\n")
    assert bench.call("erase_if_asked").returncode != 0
    assert bench.has_mark("cellule-reset")
    write_program(bench.folder / "programs/sfdisk", working)
    assert bench.call("erase_if_asked").returncode == 0
    assert not bench.has_mark("cellule-reset")


def test_a_cut_after_the_partition_went_does_not_erase_the_next_one(bench: Bench) -> None:
    (bench.folder / "data").unlink()
    bench.mark("cellule-reset")
    bench.mark("cellule-data")
    assert bench.call("erase_if_asked").returncode == 0
    assert not bench.has_mark("cellule-reset") and not bench.has_mark("cellule-data")


def test_where_the_key_was_destroyed_only_noise_is_left_and_nobody_waits(bench: Bench) -> None:
    bench.device.write_bytes(WRITTEN)
    bench.mark("cellule-reset", "key destroyed")
    erased = bench.call("erase_if_asked")
    assert erased.returncode == 0, erased.stderr
    assert "overwritten" not in erased.stdout
    assert not bench.has_mark("cellule-reset")


def test_a_key_that_a_power_cut_saved_is_erased_at_the_next_start(bench: Bench) -> None:
    key = encrypt(bench)
    bench.mark("cellule-reset")
    assert bench.call("erase_if_asked").returncode == 0
    tried = ["cryptsetup", "open", "--test-passphrase", "--key-file=-", str(bench.device)]
    assert subprocess.run(tried, input=key, text=True, check=False, capture_output=True).returncode != 0
    assert not any(bench.content()[: 16 * MIB])


def test_a_partition_that_vanished_is_told_and_not_made_anew(bench: Bench) -> None:
    write_program(bench.folder / "programs/systemd-repart", f"#!/bin/sh\ntouch {bench.folder}/made\n")
    (bench.folder / "data").unlink()
    bench.mark("cellule-data")
    assert bench.call("make_or_grow").returncode != 0
    assert "There is no data partition on /dev/none any more" in bench.trouble
    assert not (bench.folder / "made").exists()


def encrypt(bench: Bench) -> str:
    """The recovery key of a volume that is bound to nothing else."""
    first = bench.folder / "first.key"
    first.write_text("the first key")
    fast = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    make = ["cryptsetup", "luksFormat", "-q", "--type", "luks2", *fast, str(bench.device), str(first)]
    subprocess.run(make, check=True)
    return make_recovery_key(bench.device, (f"--unlock-key-file={first}",))


@pytest.mark.parametrize("typed", ["{key}", "{upper}", "{bare}"])
def test_the_recovery_key_opens_however_it_is_typed_and_is_kept_nowhere(bench: Bench, typed: str) -> None:
    key = encrypt(bench)
    answer = typed.format(key=key, upper=key.upper(), bare=key.replace("-", " "))
    asked = bench.folder / "asked"
    # wrong at first, then right; there is no device mapper to really open it with
    write_program(
        bench.folder / "programs/systemd-ask-password",
        f'#!/bin/sh\necho "$@" >>{asked}\n[ "$(wc -l <{asked})" -gt 1 ] && echo "{answer}" || echo wrong\n',
    )
    real = (bench.folder / "programs/cryptsetup").rename(bench.folder / "programs/real-cryptsetup")
    write_program(
        bench.folder / "programs/cryptsetup",
        f'#!/bin/sh\n[ "$1" = open ] || exec {real} "$@"\n'
        f"exec {real} open --test-passphrase --key-file=- {bench.device}\n",
    )
    opened = bench.call('unlock_by_key; echo "$how"')
    assert opened.returncode == 0, opened.stderr
    assert "That key does not open the disk." in asked.read_text()
    assert "opened by the recovery key; no TPM opens it" in opened.stdout
    assert (bench.folder / "state/opened").read_text() == "recovery-key\n"
    kept = [path for path in bench.folder.rglob("*") if path.is_file() and path.parent.name == "state"]
    assert not any(key.split("-")[0] in path.read_text() for path in kept)
    assert key.split("-")[0] not in opened.stdout + opened.stderr


def test_after_five_wrong_keys_the_box_tells_and_does_not_ask_for_ever(bench: Bench) -> None:
    encrypt(bench)
    write_program(bench.folder / "programs/systemd-ask-password", "#!/bin/sh\necho wrong\n")
    assert bench.call("unlock_by_key").returncode != 0
    assert "could not be unlocked" in bench.trouble
