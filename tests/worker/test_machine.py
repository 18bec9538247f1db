"""What the agent reads from the machine and keeps on it: facts, membership, its command line."""

import secrets
import socket
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.engines.options import Kind
from appliance.enrolment.invitation_code import InvitationCode, format_code
from appliance.hardware.gathering import read_devices
from appliance.hardware.profile import EngineName
from appliance.host.keys import ensure_private_key
from appliance.worker.desired import EngineSpec
from appliance.worker.engine_process import EngineProcess
from appliance.worker.facts import current_load, gpu_names, machine_facts
from appliance.worker.membership import AlreadyRunning, Membership, MembershipDamaged, MembershipStore
from appliance.worker.presence import Presence
from tests.conftest import free_port


def test_the_facts_of_this_machine_are_the_kernels_own() -> None:
    facts = machine_facts()
    kibibytes = int(Path("/proc/meminfo").read_text().split()[1])
    assert facts.memory_bytes == kibibytes * 1024
    assert facts.cores >= 1
    assert facts.name
    assert 0 <= current_load(Presence()).cpu_percent <= 100


def test_a_gpu_is_told_by_its_driver_or_else_by_its_pci_id(tmp_path: Path) -> None:
    def device(slot: str, **files: str) -> None:
        folder = tmp_path / "sys/bus/pci/devices" / slot
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / ("class" if name == "kind" else name)).write_text(text + "\n")

    device("0000:00:02.0", kind="0x030000", vendor="0x8086", device="0x46a6")
    device("0000:01:00.0", kind="0x030200", vendor="0x10de", device="0x2684")
    device("0000:03:00.0", kind="0x038000", vendor="0x1002", device="0x744c", product_name="Radeon Pro W7900")
    device("0000:00:1f.6", kind="0x020000", vendor="0x8086", device="0x15fb")
    card = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text("Model: \t\t NVIDIA RTX 4090\nIRQ:   \t 140\n")
    assert gpu_names(read_devices(tmp_path / "sys", tmp_path / "proc")) == (
        "Intel 46a6",
        "NVIDIA RTX 4090",
        "Radeon Pro W7900",
    )


def test_an_engine_that_does_not_answer_yet_is_told_with_what_it_is_for(tmp_path: Path) -> None:
    spec = EngineSpec(
        model="ear",
        file=tmp_path / "ear",
        slots=1,
        context_tokens=0,
        port=free_port(),
        engine=EngineName.OPENVINO,
        kind=Kind.TRANSCRIPTION,
        device="NPU",
    )
    engine = EngineProcess(spec, IPv4Address("127.0.0.1"))
    try:
        told = engine.report()
    finally:
        engine.stop()
    assert (told.ready, told.kind, told.engine, told.device) == (False, spec.kind, spec.engine, "NPU")


@pytest.fixture
def store(tmp_path: Path) -> MembershipStore:
    return MembershipStore(tmp_path / "worker")


def a_membership() -> Membership:
    return Membership(
        name="pc",
        invitation_id=b"\1\2\3\4",
        worker_id="w1",
        short_code="123456",
        poll_key=secrets.token_bytes(32),
        pin=secrets.token_bytes(32),
        address=("10.99.0.1", 8443),
        interface="cellule0",
    )


def test_a_membership_survives_and_only_its_owner_reads_it(store: MembershipStore) -> None:
    membership = a_membership()
    with store.taken():
        assert store.load() is None
        store.save(membership)
        ensure_private_key(store.key_path(membership.invitation_id))
    assert store.load() == membership
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in store.folder.iterdir() if path.name != "lock"} == {0}


def test_secrets_are_not_in_the_text_form(store: MembershipStore) -> None:
    membership = a_membership()
    assert membership.poll_key.hex() not in repr(membership)
    assert str(membership.poll_key) not in repr(membership)


def test_wiping_leaves_no_key(store: MembershipStore) -> None:
    membership = a_membership()
    with store.taken():
        store.save(membership)
        ensure_private_key(store.key_path(membership.invitation_id))
        store.wipe()
        assert [path.name for path in store.folder.iterdir()] == ["lock"]
        store.wipe()


def test_a_new_invitation_replaces_the_key_of_the_one_before(store: MembershipStore) -> None:
    with store.taken():
        for invitation_id in (b"\1\2\3\4", b"\5\6\7\b"):
            ensure_private_key(store.key_path(invitation_id))
            store.save(a_membership().model_copy(update={"invitation_id": invitation_id}))
        assert list(store.folder.glob("*.key")) == [store.key_path(b"\5\6\7\b")]


def test_a_damaged_membership_is_told_and_not_taken_for_none(store: MembershipStore) -> None:
    with store.taken():
        (store.folder / "membership.json").write_text('{"name": "pc"')
        with pytest.raises(MembershipDamaged):
            store.load()


def test_two_agents_never_share_a_folder(store: MembershipStore) -> None:
    with store.taken(), pytest.raises(AlreadyRunning), store.taken():
        pass


def worker(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance.worker", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.root
def test_running_before_joining_says_what_to_do(tmp_path: Path) -> None:
    done = worker("run", "--state", str(tmp_path))
    assert done.returncode == 1
    assert f"python -m appliance.worker join --state {tmp_path}" in done.stdout


@pytest.mark.root
def test_a_mistyped_code_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    done = worker("join", "--state", str(tmp_path), "--box", "192.0.2.1:9", stdin="CEL1-AAAA\n")
    assert done.returncode == 1
    assert "64 are needed" in done.stdout
    assert list(tmp_path.glob("*.key")) == []


@pytest.mark.root
def test_the_box_cant_join_itself_and_the_invitation_stays_good(tmp_path: Path) -> None:
    code = format_code(
        InvitationCode(secrets.token_bytes(4), secrets.token_bytes(16), secrets.token_bytes(16))
    )
    with socket.create_server(("127.0.0.1", 0)) as box:
        box.settimeout(0)
        address = f"127.0.0.1:{box.getsockname()[1]}"
        done = worker("join", "--state", str(tmp_path), "--box", address, stdin=code + "\n")
        with pytest.raises(BlockingIOError):
            box.accept()
    assert done.returncode == 1
    assert "Join from another computer" in done.stdout


@pytest.mark.root
def test_a_code_file_that_is_missing_is_told(tmp_path: Path) -> None:
    done = worker("join", "--state", str(tmp_path), "--code-file", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "No such file" in done.stdout


@pytest.mark.parametrize("box", ["", ":443", "box:0", "box:65536", "box:https"])
def test_a_wrong_address_is_a_usage_error(box: str) -> None:
    assert worker("join", "--box", box).returncode == 2


def test_there_is_no_way_to_put_the_code_on_the_command_line() -> None:
    assert worker("join", "CEL1-AAAA").returncode == 2
    assert worker("join", "--code", "CEL1-AAAA").returncode == 2


def test_a_worker_carries_nothing_of_the_boxs_people_pages_or_database() -> None:
    program = "import sys, appliance.worker.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "appliance.pool",
        "appliance.people",
        "appliance.storage",
        "webadmin",
        "sqlite_utils",
        "flask",
    }
