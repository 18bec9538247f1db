"""Installing with the real RAUC, a service on a bus of the test's, from signed bundles into files."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host import (
    BundleNotTrusted,
    Busy,
    HostFailed,
    InstallPlan,
    InstallState,
    InvalidPlan,
    NotFound,
    SlotState,
)
from appliance.host.linux import LinuxHost
from appliance.host.linux import install as linux_install
from appliance.host.linux.places import Places
from tests.host.box import make_box
from tests.host.image_root import put_on_path, tools_root, write_program
from tests.waiting import wait_until

pytestmark = pytest.mark.root
BUS = """<busconfig><type>system</type><listen>unix:path={folder}/bus.sock</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/><allow user="*"/></policy></busconfig>"""
SYSTEM = """\
[system]
compatible=cellule-test
bootloader=custom
bundle-formats=plain
statusfile={folder}/status.raucs
mountprefix={folder}/mnt
[keyring]
path={folder}/ours.pem
check-purpose=codesign
[handlers]
bootloader-custom-backend={folder}/backend
[slot.rootfs.0]
device={folder}/slot-a
type=raw
bootname=a
[slot.rootfs.1]
device={folder}/slot-b
type=raw
bootname=b
"""
# names the kernel image as the box's own hook does
BACKEND = """\
#!/bin/sh
kernels={folder}/box/efi/EFI/Linux
case $1 in
    get-current | get-primary) echo a ;;
    get-state) echo good ;;
    set-state) [ $3 = good ] || rm -f $kernels/cellule_*_$2*.efi ;;
    set-primary) sleep 0.3; echo kernel >$kernels/cellule_$(cat {folder}/content/version)_$2+3.efi ;;
esac
"""


class Release:
    """A signed bundle at `path`, and what an install of it asks for."""

    def __init__(
        self, folder: Path, version: str, signer: str = "ours", compatible: str = "cellule-test"
    ) -> None:
        content = folder / "content"
        content.mkdir(exist_ok=True)
        (content / "root.img").write_bytes(hashlib.sha256(version.encode()).digest() * 65536)
        (content / "version").write_text(version)
        manifest = (
            f"[update]\ncompatible={compatible}\nversion={version}\n[bundle]\nformat=plain\n"
            "[image.rootfs]\nfilename=root.img\n"
        )
        (content / "manifest.raucm").write_text(manifest)
        self.path = folder / f"{version}-{signer}.raucb"
        keys = (f"--cert={folder}/{signer}.pem", f"--key={folder}/{signer}.key")
        subprocess.run(["rauc", "bundle", *keys, content, self.path], check=True, capture_output=True)
        self.image = (content / "root.img").read_bytes()
        # bundling adds the image's checksum to the manifest, so it is asked what came out
        asked = (
            linux_install._ask("InspectBundle", "sa{sv}", str(self.path), "0") if signer == "ours" else None
        )
        self.hash = asked[0]["manifest-hash"]["data"] if asked else "0" * 64
        self.plan = InstallPlan(source=str(self.path), manifest_hash=self.hash, version=version)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    put_on_path(monkeypatch, tmp_path, tools_root(), "rauc", "busctl", "dbus-daemon")
    for name in ("systemctl", "networkctl", "nft"):
        write_program(tmp_path / "programs" / name, "#!/bin/sh\n")
    for signer in ("ours", "theirs"):
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        names = f"-keyout {tmp_path}/{signer}.key -out {tmp_path}/{signer}.pem -subj /CN={signer}"
        usage = "-addext extendedKeyUsage=codeSigning -addext keyUsage=digitalSignature"
        subprocess.run(f"{make} {names} {usage}".split(), check=True, capture_output=True)
    for name, text in (("bus.conf", BUS), ("system.conf", SYSTEM)):
        (tmp_path / name).write_text(text.format(folder=tmp_path))
    write_program(tmp_path / "backend", BACKEND.format(folder=tmp_path))
    for slot in ("slot-a", "slot-b"):
        (tmp_path / slot).write_bytes(bytes(4 * 1024**2))
    (tmp_path / "mnt").mkdir()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus.sock")
    bus = subprocess.Popen(["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork"])
    wait_until((tmp_path / "bus.sock").is_socket, within_seconds=10, what="the bus listens")
    rauc = subprocess.Popen(["rauc", f"--conf={tmp_path}/system.conf", "service"])
    try:
        wait_until(rauc_answers, within_seconds=10, what="RAUC answers")
        yield make_box(tmp_path)
    finally:
        for process in (rauc, bus):
            process.terminate()
            process.wait(10)


def rauc_answers() -> bool:
    try:
        return linux_install._progress().state is InstallState.IDLE
    except HostFailed:
        return False


def a_host(places: Places) -> LinuxHost:
    return LinuxHost(places.root.parent / "key", places.kept, places)


def test_a_release_is_installed_by_rauc_and_told_after_a_restart(places: Places) -> None:
    folder = places.root.parent
    release, host = Release(folder, "0.2.0"), a_host(places)
    assert host.install_status().state is InstallState.IDLE
    host.install_release(release.plan)
    running = host.install_status()
    assert running.state is InstallState.INSTALLING and running.version == "0.2.0"
    with pytest.raises(Busy):
        host.install_release(release.plan)
    again = a_host(places)
    wait_until(
        lambda: again.install_status().state is InstallState.INSTALLED,
        within_seconds=15,
        what="it is installed",
    )
    assert (folder / "slot-b").read_bytes()[: len(release.image)] == release.image
    b = again.slots()[1]
    assert (b.version, b.state, b.tries_left) == ("0.2.0", SlotState.TRYING, 3)


def test_a_bundle_of_another_signer_or_another_content_touches_no_slot(places: Places) -> None:
    folder = places.root.parent
    host = a_host(places)
    theirs = Release(folder, "0.3.0", signer="theirs")
    with pytest.raises(BundleNotTrusted, match=r"not signed by the vendor .*self-signed"):
        host.install_release(theirs.plan)
    nonsense = folder / "nonsense.raucb"
    nonsense.write_bytes(b"nonsense" * 10_000)
    with pytest.raises(HostFailed, match="Invalid bundle format"):
        host.install_release(theirs.plan.model_copy(update={"source": str(nonsense)}))
    ours = Release(folder, "0.3.0")
    with pytest.raises(InvalidPlan, match=r"not the release 0\.3\.0"):
        host.install_release(ours.plan.model_copy(update={"manifest_hash": "0" * 64}))
    with pytest.raises(NotFound):
        host.install_release(ours.plan.model_copy(update={"source": f"{folder}/missing.raucb"}))
    assert not any((folder / "slot-b").read_bytes())
    assert host.slots()[1].state is SlotState.EMPTY
    assert host.install_status().state is InstallState.IDLE


def test_a_bundle_changed_after_the_inspection_ends_in_no_bootable_slot(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = places.root.parent
    announced = Release(folder, "0.2.0")
    other = Release(folder, "0.1.5")
    host, ask = a_host(places), linux_install._ask

    def swapped(method: str, *arguments: str) -> object:
        answer = ask(method, *arguments)
        if method == "InspectBundle":
            other.path.replace(announced.path)
        return answer

    monkeypatch.setattr(linux_install, "_ask", swapped)
    host.install_release(announced.plan)
    wait_until(
        lambda: (
            host.install_status().state is InstallState.FAILED and host.slots()[1].state is SlotState.EMPTY
        ),
        within_seconds=15,
        what="the slot is marked bad",
    )


def test_a_bundle_for_another_machine_fails_with_raucs_words(places: Places) -> None:
    folder = places.root.parent
    host = a_host(places)
    host.install_release(Release(folder, "0.2.0", compatible="another").plan)
    wait_until(
        lambda: host.install_status().state is InstallState.FAILED, within_seconds=15, what="it has failed"
    )
    assert "compatible" in host.install_status().error.lower()
    assert not any((folder / "slot-b").read_bytes())
