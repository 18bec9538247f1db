"""A box on another disk, with real tables and a real FAT file system in files instead of disks."""

import json
import struct
import subprocess
from pathlib import Path

import pytest

from appliance.host import DiskInstallState, InvalidPlan, NotFound
from appliance.host.linux import disk_install
from appliance.host.linux.disk_install import DiskInstall
from appliance.host.linux.disk_layout import LEAST_DATA_BYTES
from appliance.host.linux.places import Places
from appliance.host.linux.slots import booted_slot
from tests.host.box import ROOT_UUID, add_disk, make_box, write
from tests.host.image_root import put_on_path, tools_root
from tests.waiting import wait_until

pytestmark = pytest.mark.root
MIB = 1024**2
SIZES_MIB = {"esp": 48, "root-a": 12, "verity-a": 2, "root-b": 12, "verity-b": 2, "data": 64}
VERITY_UUID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    put_on_path(monkeypatch, tmp_path, tools_root(), "sfdisk", "mkfs.vfat", "mcopy", "mdir", "mtype")
    places = make_box(tmp_path)
    for name in ("sda", "sdb"):
        make_sparse(places.root / "dev" / name, 8 * 1024**3 if name == "sdb" else 200 * MIB)
    uuids = {"root-a": f", uuid={ROOT_UUID}", "verity-a": f", uuid={VERITY_UUID}"}
    lines = [
        f'size={size}MiB, type={ESP_TYPE if name == "esp" else "linux"}, name="{name}"{uuids.get(name, "")}'
        for name, size in SIZES_MIB.items()
    ]
    script = "\n".join(["label: gpt", *lines, ""])
    subprocess.run(["sfdisk", "-q", places.root / "dev/sda"], input=script, text=True, check=True)
    for name in ("root-a", "verity-a"):
        part = places.root / "dev" / name
        part.write_bytes(bytes(range(256)) * (SIZES_MIB[name] * MIB // 256))
    (places.partitions / "verity-a").symlink_to("../verity-a")
    write(places.kernels / "cellule_0.1.0_a.efi.extra.d/root.addon.efi", "root hash")
    write(places.kernels / "cellule_0.0.9_b+0-3.efi", "a bad release")
    (places.kernels / "cellule_0.1.0_a.efi").rename(places.kernels / "cellule_0.1.0_a+2-1.efi")
    write(places.esp / "EFI/BOOT/BOOTX64.EFI", "boot loader")
    write(places.esp / "loader/random-seed", "of this disk")
    write(places.esp / "loader/loader.conf", "timeout 0\n")
    return places


def make_sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def table_of(disk: Path) -> dict[str, dict[str, object]]:
    asked = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True, text=True)
    table = json.loads(asked.stdout)["partitiontable"]
    return {"disk": table, **{part["name"]: part for part in table["partitions"]}}


def installed(install: DiskInstall) -> bool:
    assert install.status.state is not DiskInstallState.FAILED, install.status.error
    return install.status.state is DiskInstallState.INSTALLED


def test_the_other_disk_starts_the_same_release_with_an_identity_of_its_own(places: Places) -> None:
    install, target = DiskInstall(places), places.root / "dev/sdb"
    install.begin("sdb", force=False)
    wait_until(lambda: installed(install), within_seconds=30, what="the disk is a box")
    assert install.status.percent == 100
    ours, theirs = table_of(places.root / "dev/sda"), table_of(target)
    assert theirs["disk"]["id"] != ours["disk"]["id"]
    assert set(theirs) == set(ours) - {"data"}
    assert str(theirs["root-a"]["uuid"]).lower() == ROOT_UUID
    assert str(theirs["verity-a"]["uuid"]).lower() == VERITY_UUID
    for name in ("esp", "root-b", "verity-b"):
        assert theirs[name]["uuid"] != ours[name]["uuid"]
        assert theirs[name]["size"] == ours[name]["size"]
    for name in ("root-a", "verity-a"):
        with target.open("rb") as disk:
            disk.seek(int(str(theirs[name]["start"])) * 512)
            assert disk.read(SIZES_MIB[name] * MIB) == (places.root / "dev" / name).read_bytes()


def test_its_esp_holds_the_running_kernel_as_good_and_nothing_of_the_other_slot(places: Places) -> None:
    install, target = DiskInstall(places), places.root / "dev/sdb"
    install.begin("sdb", force=False)
    wait_until(lambda: installed(install), within_seconds=30, what="the disk is a box")
    at = f"{target}@@{int(str(table_of(target)['esp']['start'])) * 512}"
    listed = subprocess.run(["mdir", "-i", at, "-/", "-b", "::"], check=True, capture_output=True, text=True)
    assert sorted(line.removeprefix("::") for line in listed.stdout.split() if not line.endswith("/")) == [
        "/EFI/BOOT/BOOTX64.EFI",
        "/EFI/Linux/cellule_0.1.0_a.efi",
        "/EFI/Linux/cellule_0.1.0_a.efi.extra.d/root.addon.efi",
        "/loader/loader.conf",
    ]


def test_firmware_takes_its_esp_for_the_fat32_that_it_is(places: Places) -> None:
    """By the number of clusters, as firmware does; the disk is far larger than its ESP."""
    install, target = DiskInstall(places), places.root / "dev/sdb"
    install.begin("sdb", force=False)
    wait_until(lambda: installed(install), within_seconds=30, what="the disk is a box")
    with target.open("rb") as disk:
        disk.seek(int(str(table_of(target)["esp"]["start"])) * 512)
        boot = disk.read(512)
    cluster_sectors, reserved, fats = struct.unpack_from("<BHB", boot, 13)
    total, fat_sectors = struct.unpack_from("<II", boot, 32)
    assert (total - reserved - fats * fat_sectors) // cluster_sectors >= 65_525


def test_a_disk_that_forgets_is_noticed_and_does_not_start(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = disk_install.copy_partition

    def forgetful(source: Path, target: Path, part: object, progress: object) -> str:
        digest = copied(source, target, part, progress)  # type: ignore[arg-type]
        with target.open("r+b") as disk:
            disk.seek(part.start + 5000)  # type: ignore[attr-defined]
            disk.write(b"!")
        return digest

    monkeypatch.setattr(disk_install, "copy_partition", forgetful)
    install = DiskInstall(places)
    install.begin("sdb", force=False)
    wait_until(
        lambda: install.status.state is DiskInstallState.FAILED, within_seconds=30, what="the install failed"
    )
    assert "does not give back" in install.status.error
    shown = subprocess.run(["sfdisk", "--json", places.root / "dev/sdb"], check=False, capture_output=True)
    assert shown.returncode != 0


@pytest.mark.parametrize(
    ("disk", "error", "why"),
    [
        ("sda", InvalidPlan, "runs from"),
        ("sdz", NotFound, "no disk"),
        ("sdc", InvalidPlan, "unplugged"),
        ("sdd", InvalidPlan, "in use"),
        ("sde", InvalidPlan, "needs"),
    ],
)
def test_a_disk_that_must_not_be_lost_is_refused_untouched(
    places: Places, disk: str, error: type[Exception], why: str
) -> None:
    add_disk(places, "sdd", 8 * 1024**3)
    add_disk(places, "sde", LEAST_DATA_BYTES)
    write(places.proc / "self/mountinfo", "22 1 8:48 / /mnt rw - ext4 /dev/sdd rw\n")
    with pytest.raises(error, match=why):
        DiskInstall(places).begin(disk, force=False)


def test_the_slot_that_runs_is_known_although_another_disk_has_the_same_root(places: Places) -> None:
    """Both partitions have the two halves of one root hash as their UUIDs; udev names but one of them."""
    by_uuid = places.root / "dev/disk/by-partuuid"
    by_uuid.mkdir(parents=True)
    (by_uuid / ROOT_UUID).symlink_to("../../sdb2")
    assert booted_slot(places) == "a"


def test_a_stick_that_is_pulled_out_meanwhile_is_named_as_the_reason(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc/self/mem, read from its start, is refused by the kernel (EIO) as a disk is that went away."""
    (places.partitions / "verity-a").unlink()
    (places.partitions / "verity-a").symlink_to("/proc/self/mem")
    install = DiskInstall(places)
    install.begin("sdb", force=False)
    wait_until(
        lambda: install.status.state is DiskInstallState.FAILED, within_seconds=30, what="the install failed"
    )
    assert "stick" in install.status.error and "again" in install.status.error
    shown = subprocess.run(["sfdisk", "--json", places.root / "dev/sdb"], check=False, capture_output=True)
    assert shown.returncode != 0, "nothing starts from half a box"
