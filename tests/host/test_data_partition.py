"""Recovery key and factory reset on a real LUKS2 volume in a file, with the image's own programs."""

import json
import subprocess
from pathlib import Path

import pytest

from appliance.host import HostFailed, Unsupported
from appliance.host.linux.recovery import key_slots, make_recovery_key
from appliance.host.linux.reset import HEADER_BYTES, KEY_DESTROYED, begin_reset, destroy_key
from appliance.host.linux.status import read_data
from tests.host.box import make_box, write
from tests.host.image_root import image_root, put_on_path

pytestmark = pytest.mark.root
FAST = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_root(tmp_path_factory.mktemp("image"))


@pytest.fixture
def volume(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume that `first.key` opens, as the TPM's key does on a box."""
    put_on_path(monkeypatch, tmp_path, root, "cryptsetup", "systemd-cryptenroll", "blkdiscard")
    volume, key = tmp_path / "volume", tmp_path / "first.key"
    volume.write_bytes(b"")
    with volume.open("r+b") as file:
        file.truncate(48 * 1024**2)
    key.write_text("the first key")
    key.chmod(0o600)
    format_it = ["cryptsetup", "luksFormat", "-q", "--type", "luks2", *FAST.split(), str(volume), str(key)]
    subprocess.run(format_it, check=True)
    return volume


def by_key(volume: Path) -> tuple[str, ...]:
    return (f"--unlock-key-file={volume.parent}/first.key",)


def opens(volume: Path, key: str) -> bool:
    tried = ["cryptsetup", "open", "--test-passphrase", "--key-file=-", str(volume)]
    return subprocess.run(tried, input=key, text=True, check=False, capture_output=True).returncode == 0


def test_a_recovery_key_opens_and_replaces_the_former(volume: Path) -> None:
    first = make_recovery_key(volume, by_key(volume))
    assert opens(volume, first)
    second = make_recovery_key(volume, by_key(volume))
    assert len(second) == 71 and second != first
    assert opens(volume, second)
    assert not opens(volume, first)
    assert opens(volume, "the first key")
    assert len(key_slots(volume, "systemd-recovery")) == 1


def test_without_the_first_key_the_former_recovery_key_stays(volume: Path) -> None:
    former = make_recovery_key(volume, by_key(volume))
    (volume.parent / "first.key").write_text("a wrong key")
    with pytest.raises(HostFailed):
        make_recovery_key(volume, by_key(volume))
    assert opens(volume, former)


def test_after_a_reset_no_key_opens_and_nothing_of_the_header_is_left(volume: Path) -> None:
    recovery = make_recovery_key(volume, by_key(volume))
    header = volume.read_bytes()[:HEADER_BYTES]
    with volume.open("rb") as still_open:
        assert destroy_key(volume)
        assert still_open.read(6) != b"LUKS\xba\xbe"
    assert not opens(volume, recovery) and not opens(volume, "the first key")
    left = volume.read_bytes()[:HEADER_BYTES]
    blocks = [slice(start, start + 512) for start in range(0, HEADER_BYTES, 512)]
    assert not any(header[block] == left[block] and any(header[block]) for block in blocks)


def test_a_reset_marks_the_esp_before_and_after_the_key_is_destroyed(volume: Path, tmp_path: Path) -> None:
    places = make_box(tmp_path)
    (places.partitions / "data").symlink_to(volume)
    mark = places.esp / "cellule-reset"
    begin_reset(places)
    assert not opens(volume, "the first key")
    assert mark.read_text() == KEY_DESTROYED


def test_data_without_encryption_is_left_to_the_next_boot_to_overwrite(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(monkeypatch, tmp_path, root, "cryptsetup", "blkdiscard", "systemd-cryptenroll")
    places = make_box(tmp_path)
    partition = places.partitions / "data"
    partition.write_bytes(b"what people asked" * 1_000_000)
    with pytest.raises(Unsupported, match="not encrypted"):
        make_recovery_key(partition)
    begin_reset(places)
    assert (places.esp / "cellule-reset").read_text() == ""


def test_a_box_without_its_partition_can_be_reset(tmp_path: Path) -> None:
    places = make_box(tmp_path)
    begin_reset(places)
    assert (places.esp / "cellule-reset").is_file()


def test_the_key_on_a_pipe_opens_and_binds_anew(volume: Path) -> None:
    """As data-partition hands it over: no file, no command line. Another recovery key stands for the TPM."""
    key = make_recovery_key(volume, by_key(volume))
    enrol = ["systemd-cryptenroll", "--unlock-key-file=/dev/stdin", "--recovery-key", str(volume)]
    done = subprocess.run(enrol, input=key, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert opens(volume, done.stdout.strip())


@pytest.mark.parametrize(
    ("token", "opened", "bound"),
    [
        (True, "tpm", True),
        (True, "bound-anew", True),
        (True, "recovery-key", False),
        (False, "recovery-key", False),
    ],
)
def test_bound_is_said_only_when_this_machines_tpm_opens_it(
    volume: Path, tmp_path: Path, token: bool, opened: str, bound: bool
) -> None:
    places = make_box(tmp_path)
    (places.partitions / "data").symlink_to(volume)
    write(places.data_state / "device", "")
    write(places.data_state / "opened", f"{opened}\n")
    if token:
        text = json.dumps(
            {
                "type": "systemd-tpm2",
                "keyslots": ["0"],
                "tpm2-blob": "AAAA",
                "tpm2-pcrs": [7],
                "tpm2-policy-hash": "00" * 32,
            }
        )
        subprocess.run(
            ["cryptsetup", "token", "import", "--json-file=-", str(volume)], input=text, text=True, check=True
        )
    status = read_data(places)
    assert status.encrypted and status.size_bytes
    assert status.tpm_bound is bound


def test_without_its_partition_the_box_claims_nothing_of_it(tmp_path: Path) -> None:
    status = read_data(make_box(tmp_path))
    assert not (status.encrypted or status.tpm_bound or status.recovery_key or status.size_bytes)
