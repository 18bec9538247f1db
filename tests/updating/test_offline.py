"""Releases carried by hand: the same trust, whatever is wrong with the stick or the file."""

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.updating import archive, trust
from appliance.updating.archive import NotAnUpdateFile, UpdateFileCutOff, unpack
from appliance.updating.choice import UpdateChoice
from appliance.updating.installs import Stage, order_install
from appliance.updating.offline import follow_offline
from appliance.updating.offline_checks import (
    CheckState,
    CheckUnderWay,
    NoRoom,
    ask_check,
    check_room,
    newest_check,
)
from appliance.updating.packing import pack
from appliance.updating.release import Origin
from tests.updating.box import Box
from tests.updating.serving import ChannelServer
from tests.updating.vendor import DAY, Vendor


@pytest.fixture
def update_file(vendor: Vendor, tmp_path: Path) -> Path:
    vendor.publish("1.1.0", size_bytes=300_000)
    file = tmp_path / "cellule-1.1.0.tar"
    pack(vendor.channel, file)
    return file


def leftovers(box: Box) -> set[str]:
    return {path.name for path in (box.settings.state_dir / "updates").rglob("*")} - {"root.json", "incoming"}


def test_an_uploaded_file_is_found_installed_and_runs(box: Box, update_file: Path) -> None:
    check = box.upload(update_file)
    assert (check.state, check.code) == (CheckState.GOOD, "")
    assert box.found() == [("1.1.0", Origin.UPLOAD)]
    for _ in range(3):
        box.turn(3600)
    order_install(box.db, box.the("1.1.0"), by="ana", restart_now=True, at=box.at)
    box.until(Stage.HELD)
    assert box.host.machine_status().version == "1.1.0"
    assert not {"x.tar", "upload"} & leftovers(box), "neither the upload nor what was in it is kept"
    assert box.found() == []


@pytest.mark.parametrize("place", ["", "updates-2026"])
def test_a_stick_with_the_channels_folders(box: Box, vendor: Vendor, place: str) -> None:
    vendor.publish("1.1.0")
    shutil.copytree(vendor.channel, box.stick / place)
    assert box.look_at_stick().state is CheckState.GOOD
    found = box.the("1.1.0")
    assert found.origin is Origin.STICK
    assert found.source == str(box.stick / place / "targets" / "cellule-1.1.0.raucb")


def test_a_stick_with_an_update_file(box: Box, update_file: Path) -> None:
    box.stick.mkdir()
    shutil.copyfile(update_file, box.stick / "some name.tar")
    assert box.look_at_stick().state is CheckState.GOOD
    assert Path(box.the("1.1.0").source).is_file()
    assert not box.the("1.1.0").source.startswith(str(box.stick)), "the stick may be pulled"


def test_no_stick_and_an_empty_stick(box: Box) -> None:
    assert box.look_at_stick().code == "host_not_found"
    box.stick.mkdir()
    assert box.look_at_stick().code == "nothing_on_stick"
    (box.stick / "New folder" / "metadata").mkdir(parents=True)
    (box.stick / "New folder" / "metadata" / "timestamp.json").write_text("{}")
    assert box.look_at_stick().code == "nothing_on_stick"


def test_a_stick_that_is_pulled_while_its_bundle_is_read(
    box: Box, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publish("1.1.0")
    shutil.copytree(vendor.channel, box.stick)
    real = Path.open

    def pulled(path: Path, *arguments: object, **options: object) -> object:
        if path.suffix == ".raucb":
            raise OSError(5, "Input/output error")
        return real(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", pulled)
    check = box.look_at_stick()
    assert (check.state, check.code) == (CheckState.REFUSED, "medium_gone")
    assert box.found() == []


def test_a_stick_that_is_pulled_while_its_metadata_is_read(
    box: Box, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publish("1.1.0")
    shutil.copytree(vendor.channel, box.stick)

    def pulled(*arguments: object, **options: object) -> object:
        shutil.rmtree(box.stick)
        return trust.look(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("appliance.updating.offline.look", pulled)
    check = box.look_at_stick()
    assert (check.state, check.code) == (CheckState.REFUSED, "channel_silent")
    assert box.found() == []


def test_a_changed_bundle_is_refused(box: Box, vendor: Vendor) -> None:
    bundle = vendor.publish("1.1.0")
    content = bytearray(bundle.read_bytes())
    content[1000] ^= 1
    bundle.write_bytes(content)
    shutil.copytree(vendor.channel, box.stick)
    check = box.look_at_stick()
    assert (check.state, check.code) == (CheckState.REFUSED, "channel_not_trusted")
    assert ("box:release:refused", "USB") in box.audit()
    assert box.found() == []


def test_an_older_file_after_a_newer_one_is_a_roll_back(
    box: Box, vendor: Vendor, update_file: Path, tmp_path: Path
) -> None:
    vendor.publish("1.2.0")
    newer = tmp_path / "newer.tar"
    pack(vendor.channel, newer)
    assert box.upload(newer).state is CheckState.GOOD
    check = box.upload(update_file)
    assert (check.state, check.code) == (CheckState.REFUSED, "channel_rolled_back")
    assert box.found() == [("1.2.0", Origin.UPLOAD)], "what was there stays"
    assert Path(box.the("1.2.0").source).is_file()


def test_what_the_network_showed_makes_an_older_file_a_roll_back(
    box: Box, vendor: Vendor, update_file: Path, server: ChannelServer
) -> None:
    vendor.publish("1.2.0")
    box.choose(UpdateChoice(channel_url=server.url, automatic=False))
    box.turn()
    assert box.upload(update_file).code == "channel_rolled_back"


def test_a_file_that_is_some_months_old_is_found_with_a_warning(
    box: Box, update_file: Path, vendor: Vendor
) -> None:
    box.at = vendor.at + 60 * DAY
    assert box.upload(update_file).state is CheckState.GOOD
    assert box.the("1.1.0").expired_at == vendor.at + 14 * DAY


@pytest.mark.parametrize("days", [195, 366, 800])
def test_a_file_that_is_too_old_is_refused(box: Box, update_file: Path, vendor: Vendor, days: int) -> None:
    box.at = vendor.at + days * DAY
    assert box.upload(update_file).code == "channel_expired"
    assert box.found() == []


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9])
def test_a_file_that_was_cut_off_is_refused_and_leaves_nothing(
    box: Box, update_file: Path, kept: float
) -> None:
    content = update_file.read_bytes()
    update_file.write_bytes(content[: int(len(content) * kept)])
    check = box.upload(update_file)
    assert check.state is CheckState.REFUSED
    assert check.code in {"update_file_cut_off", "not_an_update_file"}
    assert box.found() == []
    assert leftovers(box) == set()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x00" * 4096, os.urandom(4096)])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.tar"
    file.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(NotAnUpdateFile):
        unpack(file, tmp_path / "out")


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name: str, kind: bytes, target: str = "/etc/passwd") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def sparse(name: str) -> tuple[tarfile.TarInfo, bytes]:
    member, content = plain(name)
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,1",
        "GNU.sparse.size": "99999999999",
    }
    return member, content


EVIL: dict[str, Callable[[], list[tuple[tarfile.TarInfo, bytes]]]] = {
    "up": lambda: [plain("metadata/../../evil.json")],
    "absolute": lambda: [plain("/etc/cellule/evil.json")],
    "elsewhere": lambda: [plain("secrets/evil.json")],
    "other name": lambda: [plain("metadata/evil.json")],
    "deeper": lambda: [plain("metadata/a/1.root.json")],
    "symlink": lambda: [special("metadata/1.root.json", tarfile.SYMTYPE)],
    "hard link": lambda: [special("metadata/1.root.json", tarfile.LNKTYPE)],
    "link to a folder": lambda: [
        special("targets", tarfile.SYMTYPE, "/tmp"),
        plain("targets/cellule-1.raucb"),
    ],
    "device": lambda: [special("targets/cellule-1.raucb", tarfile.CHRTYPE)],
    "fifo": lambda: [special("targets/cellule-1.raucb", tarfile.FIFOTYPE)],
    "twice": lambda: [plain("metadata/1.root.json"), plain("metadata/1.root.json")],
    "sparse": lambda: [sparse("targets/cellule-1.raucb")],
    "large metadata": lambda: [plain("metadata/1.root.json", b"x" * 5_000_001)],
    "many": lambda: [plain(f"metadata/{number}.root.json") for number in range(2_001)],
}


@pytest.mark.parametrize("kind", EVIL)
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, kind: str) -> None:
    file, out = tmp_path / "evil.tar", tmp_path / "box" / "out"
    out.mkdir(parents=True)
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in EVIL[kind]():
            tar.addfile(member, io.BytesIO(content))
        for member, content in (plain("metadata/timestamp.json"),):
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(NotAnUpdateFile):
        unpack(file, out)
    assert not list((tmp_path / "box").glob("evil*"))
    assert {path.name for path in out.iterdir()} <= {"metadata", "targets"}
    assert not any(path.is_symlink() for path in out.rglob("*"))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_header_is_refused_or_harmless(changes: list[tuple[int, int]]) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member, inside in (plain("metadata/1.root.json"), plain("metadata/timestamp.json")):
            tar.addfile(member, io.BytesIO(inside))
    damaged = bytearray(content.getvalue())
    for place, value in changes:
        damaged[place] = value
    # a header is believed only with the right sum
    damaged[148:156] = b"%06o\0 " % (sum(damaged[:148]) + 8 * 32 + sum(damaged[156:512]))
    with tempfile.TemporaryDirectory() as folder, suppress(NotAnUpdateFile):
        (Path(folder) / "x.tar").write_bytes(damaged)
        out = Path(folder) / "out"
        out.mkdir()
        unpack(Path(folder) / "x.tar", out)


def test_an_archive_larger_than_any_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE_BYTES", 1000)
    file, out = tmp_path / "large.tar", tmp_path / "out"
    out.mkdir()
    with tarfile.open(file, "w") as tar:
        member, content = plain("targets/cellule-1.raucb", b"x" * 1001)
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(NotAnUpdateFile):
        unpack(file, out)


def test_a_file_without_its_last_member_is_cut_off(update_file: Path, tmp_path: Path) -> None:
    short, out = tmp_path / "short.tar", tmp_path / "out"
    out.mkdir()
    with tarfile.open(update_file) as tar, tarfile.open(short, "w") as cut:
        for member in tar.getmembers()[:-1]:
            cut.addfile(member, tar.extractfile(member))
    with pytest.raises(UpdateFileCutOff):
        unpack(short, out)


def test_room_is_checked_before_anything_is_taken(
    box: Box, update_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=300 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_room(box.settings, 20 * 1024**2)
    with pytest.raises(NoRoom):
        check_room(box.settings, 30 * 1024**2)
    usage.free = 1024
    assert box.upload(update_file).code == "no_room"
    assert leftovers(box) == set()


def test_a_disk_that_fills_while_unpacking_is_told(
    box: Box, update_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("appliance.updating.offline.unpack", full)
    assert box.upload(update_file).code == "no_room"
    assert leftovers(box) == set()


def test_one_check_at_a_time_and_one_that_was_cut_off_is_done_again(box: Box, update_file: Path) -> None:
    kept = box.settings.state_dir / "updates" / "kept.tar"
    shutil.copyfile(update_file, kept)
    ask_check(box.activity, Origin.UPLOAD, path=str(kept), name="first.tar", by="ana", at=box.at)
    with pytest.raises(CheckUnderWay):
        ask_check(box.activity, Origin.STICK, path="", name="USB", by="bob", at=box.at)
    # the core was killed in the middle
    box.activity.execute("UPDATE offline_checks SET state = 'checking', done_bytes = 7")
    assert box.check().state is CheckState.GOOD


def test_nothing_is_replaced_under_a_running_install(box: Box, update_file: Path) -> None:
    box.upload(update_file)
    order_install(box.db, box.the("1.1.0"), by="ana", restart_now=False, at=box.at)
    assert box.upload(update_file).code == "install_under_way"
    assert Path(box.the("1.1.0").source).is_file()


def test_what_a_browser_never_finished_is_cleared_away(box: Box) -> None:
    half = box.settings.state_dir / "updates" / "incoming" / "tmpabc"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    os.utime(half, (box.at - 2 * DAY, box.at - 2 * DAY))
    follow_offline(box.settings, box.host, clock=lambda: box.at)
    assert not half.exists()
    assert newest_check(box.activity) is None
