"""The vendor's tool as a vendor calls it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from appliance.clock import now
from appliance.updating.bundle import NotABundle, read_bundle
from appliance.updating.fetching import FolderFetcher
from appliance.updating.publish import main
from appliance.updating.trust import Patience, look
from tests.host.image_root import put_on_path, tools_root
from tests.updating.vendor import COMPATIBLE, a_bundle


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    assert main(["--new-keys", str(tmp_path / "keys")]) == 0
    return tmp_path / "keys"


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    return tmp_path / "channel"


def bundle(folder: Path, version: str) -> Path:
    file = folder / f"cellule-{version}.raucb"
    file.write_bytes(a_bundle(folder, version))
    return file


def publish(channel: Path, keys: Path, version: str, file: Path, *more: str) -> int:
    return main(
        ["--version", version, "--bundle", str(file), "--channel", str(channel), "--keys", str(keys), *more]
    )


def offered(channel: Path, root: bytes, store: Path) -> list[str]:
    offer = look(f"file://{channel}/", store, root, FolderFetcher(channel), at=now(), patience=Patience())
    return [release.version for release in offer.releases]


def test_from_no_keys_to_a_channel_with_notes_and_waves(tmp_path: Path, keys: Path, channel: Path) -> None:
    first_root = (keys / "root.json").read_bytes()
    notes = tmp_path / "notes.fr"
    notes.write_text("Répond plus vite.\n")
    file = bundle(tmp_path, "1.4.2")
    more = ("--notes-fr", str(notes), "--wave", "5@0h,100@48h", "--min-version", "1.0.0")
    assert publish(channel, keys, "1.4.2", file, *more) == 0
    offer = look(
        f"file://{channel}/",
        tmp_path / "s",
        first_root,
        FolderFetcher(channel),
        at=now(),
        patience=Patience(),
    )
    [release] = offer.releases
    assert (release.compatible, release.min_version) == (COMPATIBLE, "1.0.0")
    assert release.notes == {"fr": "Répond plus vite."}
    assert [(wave.percent, wave.after_hours) for wave in release.waves] == [(5, 0), (100, 48)]
    assert release.manifest_hash == read_bundle(file).manifest_hash


def test_private_keys_are_for_their_owner_alone_and_the_channel_for_everybody(
    keys: Path, channel: Path, tmp_path: Path
) -> None:
    os.umask(0o077)
    try:
        publish(channel, keys, "1.0.0", bundle(tmp_path, "1.0.0"))
    finally:
        os.umask(0o022)
    assert {path.stat().st_mode & 0o777 for path in keys.glob("*.pem")} == {0o600}
    published = [path for path in channel.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in published} == {0o644}
    assert not any(b"PRIVATE" in path.read_bytes() for path in published)


def test_keys_are_never_overwritten(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in keys.iterdir()}
    assert main(["--new-keys", str(keys)]) == 1
    assert "Choose another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in keys.iterdir()} == before


@pytest.mark.parametrize("trouble", ["version", "wave", "again", "damaged", "name"])
def test_what_can_t_be_published_changes_nothing(
    tmp_path: Path, keys: Path, channel: Path, trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bundle(tmp_path, "1.0.0")
    assert publish(channel, keys, "1.0.0", file) == 0
    before = {path.name: path.read_bytes() for path in channel.rglob("*") if path.is_file()}
    other = bundle(tmp_path, "1.1.0")
    if trouble == "damaged":
        other.write_bytes(other.read_bytes()[:-50])
    if trouble == "name":
        other = other.rename(tmp_path / "release.raucb")
    arguments = {
        "version": ("9.9.9", other),
        "wave": ("1.1.0", other, "--wave", "100@0h,5@48h"),
        "again": ("1.0.0", file),
        "damaged": ("1.1.0", other),
        "name": ("1.1.0", other),
    }[trouble]
    version, chosen, *more = arguments
    assert publish(channel, keys, str(version), Path(chosen), *map(str, more)) == 1
    assert capsys.readouterr().err.count("\n") == 1, "one sentence"
    assert {path.name: path.read_bytes() for path in channel.rglob("*") if path.is_file()} == before


def test_a_channel_is_renewed_with_the_quick_keys_alone(tmp_path: Path, keys: Path, channel: Path) -> None:
    first_root = (keys / "root.json").read_bytes()
    publish(channel, keys, "1.0.0", bundle(tmp_path, "1.0.0"))
    for name in ("root.pem", "targets.pem"):
        (keys / name).unlink()
    before = (channel / "metadata" / "timestamp.json").read_bytes()
    assert main(["refresh", "--channel", str(channel), "--keys", str(keys)]) == 0
    assert (channel / "metadata" / "timestamp.json").read_bytes() != before
    assert offered(channel, first_root, tmp_path / "store") == ["1.0.0"]
    assert main(["withdraw", "1.0.0", "--channel", str(channel), "--keys", str(keys)]) == 1, (
        "that needs another key"
    )


def test_a_rotation_that_was_cut_off_keeps_its_new_key(
    tmp_path: Path, keys: Path, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_root = (keys / "root.json").read_bytes()
    publish(channel, keys, "1.0.0", bundle(tmp_path, "1.0.0"))
    real = Path.replace

    def cut(path: Path, target: Path) -> Path:
        if path.name == "root.new.pem":
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        main(["rotate", "root", "--channel", str(channel), "--keys", str(keys)])
    monkeypatch.undo()
    assert main(["rotate", "root", "--channel", str(channel), "--keys", str(keys)]) == 0
    assert main(["rotate", "timestamp", "--channel", str(channel), "--keys", str(keys)]) == 0, (
        "the root key signs"
    )
    assert offered(channel, first_root, tmp_path / "store") == ["1.0.0"]


def test_withdraw_and_pack(
    tmp_path: Path, keys: Path, channel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("1.9.0", "1.10.0", "1.11.0"):
        publish(channel, keys, version, bundle(tmp_path, version))
    assert main(["withdraw", "1.11.0", "--channel", str(channel), "--keys", str(keys)]) == 0
    capsys.readouterr()
    assert main(["pack", "--channel", str(channel), "--out", str(tmp_path / "x.tar")]) == 0
    assert "cellule-1.10.0.raucb" in capsys.readouterr().out
    assert (
        main(["pack", "--channel", str(channel), "--out", str(tmp_path / "x.tar"), "--version", "1.11.0"])
        == 1
    )


@pytest.mark.parametrize("content", [b"", b"short", os.urandom(5000), b"\x00" * 5000])
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "cellule-1.raucb"
    file.write_bytes(content)
    with pytest.raises(NotABundle):
        read_bundle(file)


@pytest.mark.root
def test_a_real_bundle_is_read_as_rauc_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(monkeypatch, tmp_path, tools_root(), "rauc")
    a_bundle(tmp_path, "0.0.0")  # makes the signer
    content, file = tmp_path / "content", tmp_path / "cellule-1.4.2.raucb"
    content.mkdir()
    (content / "root.img").write_bytes(os.urandom(200_000))
    manifest = "[update]\ncompatible=cellule-test\nversion=1.4.2\n[bundle]\nformat=verity\n"
    (content / "manifest.raucm").write_text(f"{manifest}[image.rootfs]\nfilename=root.img\n")
    signer = [f"--cert={tmp_path / 'signer.pem'}", f"--key={tmp_path / 'signer.key'}"]
    subprocess.run(["rauc", "bundle", *signer, str(content), str(file)], check=True, capture_output=True)
    info = ["rauc", "info", "--no-verify", "--output-format=json", str(file)]
    said = json.loads(subprocess.run(info, check=True, capture_output=True).stdout)
    facts = read_bundle(file)
    assert (facts.version, facts.compatible, facts.manifest_hash) == (
        said["version"],
        said["compatible"],
        said["hash"],
    )
