"""Files that only their owner reads, made by root in the folder of a user who would like to be root."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.host.contract import PeerStatus
from appliance.host.keys import ensure_private_key
from appliance.host.linux.endpoints import RememberedEndpoints
from appliance.private_file import replace, write_once

SERVICE_USER = 65534
A_KEY = "A" * 43 + "="


def seen_at(endpoint: str) -> tuple[PeerStatus, ...]:
    return (
        PeerStatus(
            public_key=A_KEY,
            allowed_ips=(),
            endpoint=endpoint,
            handshake_at=None,
            received_bytes=0,
            sent_bytes=0,
        ),
    )


@pytest.fixture
def of_the_system(tmp_path: Path) -> Path:
    """A file outside the service user's folder."""
    file = tmp_path / "shadow"
    file.write_text("untouched")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The service user's folder."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def test_the_first_one_made_counts_and_only_its_owner_reads_it(folder: Path) -> None:
    assert write_once(folder / "key", b"first") == b"first"
    assert write_once(folder / "key", b"second") == b"first"
    replace(folder / "key", b"third")
    assert (folder / "key").read_bytes() == b"third"
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [folder / "key"], "no draft is left"


@pytest.mark.root
def test_what_root_makes_belongs_to_the_user_whose_folder_it_is(folder: Path) -> None:
    os.chown(folder, SERVICE_USER, SERVICE_USER)
    ensure_private_key(folder / "wireguard.key")
    replace(folder / "other", b"content")
    for name in ("wireguard.key", "other"):
        status = (folder / name).stat()
        assert (status.st_uid, status.st_mode & 0o777) == (SERVICE_USER, 0o600)


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(folder: Path, of_the_system: Path) -> None:
    memory = RememberedEndpoints(folder)
    for name in ("endpoints-wg0.json", "endpoints-wg0.new"):
        (folder / name).symlink_to(of_the_system)
    memory.remember("wg0", seen_at("192.0.2.7:51820"))
    assert of_the_system.read_text() == "untouched"
    assert memory.load("wg0") == {A_KEY: "192.0.2.7:51820"}


@pytest.mark.parametrize(
    "planted",
    [
        "not json",
        "[1]",
        f'{{"{A_KEY}": "192.0.2.7:1\\nAllowedIPs = 0.0.0.0/0"}}',
        f'{{"{A_KEY}": "name.example:51820"}}',
        f'{{"{A_KEY}": 7}}',
    ],
)
def test_planted_endpoints_reach_no_configuration(folder: Path, planted: str) -> None:
    (folder / "endpoints-wg0.json").write_text(planted)
    assert RememberedEndpoints(folder).load("wg0") == {}


@pytest.mark.parametrize("write", [write_once, replace])
def test_its_name_is_on_the_disk_when_it_is_made(
    write: Callable[[Path, bytes], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut a moment after the page said "kept" has lost a file whose contents alone were synced."""
    path, synced = tmp_path / "machine.json", []
    sync = os.fsync

    def recorded(number: int) -> None:
        synced.append((Path(f"/proc/self/fd/{number}").readlink(), path.exists()))
        sync(number)

    monkeypatch.setattr(os, "fsync", recorded)
    write(path, b"kept")
    assert synced[-1] == (tmp_path, True)
