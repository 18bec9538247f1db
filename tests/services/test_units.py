"""The units as they ship: each service in its sandbox, each link in its place, nobody who signs in."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTFS = ROOT / "rootfs"
UNITS = ROOTFS / "usr" / "lib" / "systemd" / "system"
ETC_UNITS = ROOTFS / "etc" / "systemd" / "system"
MOST_EXPOSED = 3.0
NOT_IN_A_SANDBOX = {
    "cellule-broker.service": "it changes network, disks and slots: that is what it is for",
}
SERVICES = sorted({*(path.name for path in UNITS.glob("cellule-*.service")), "nginx.service"})


def instance(name: str) -> str:
    return name.replace("@.", "@x.")


@pytest.fixture(scope="module")
def analyze() -> list[str]:
    """systemd-analyze of the image's own version if the tools root is there, otherwise this machine's."""
    tools = f"source {ROOT}/image/where.sh && test -e $TOOLS/complete"
    if subprocess.run(["bash", "-c", tools], capture_output=True, check=False).returncode == 0:
        return [str(ROOT / "image" / "in-tools"), "--bind", str(ROOTFS), "--", "systemd-analyze"]
    return ["systemd-analyze"]


@pytest.mark.root
def test_every_service_but_those_that_change_the_machine_is_in_a_sandbox(analyze: list[str]) -> None:
    exposed = {}
    for name in SERVICES:
        told = subprocess.run(
            [*analyze, "security", "--no-pager", "--offline=true", f"--root={ROOTFS}", instance(name)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        exposed[name] = float(told.split("Overall exposure level")[1].split(": ")[1].split()[0])
        print(f"{exposed[name]:4} {name}")
    assert NOT_IN_A_SANDBOX.keys() <= exposed.keys()
    assert {name for name, level in exposed.items() if level > MOST_EXPOSED} <= NOT_IN_A_SANDBOX.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_stays_is_limited_and_comes_back(name: str) -> None:
    text = next(folder / name for folder in (UNITS, ETC_UNITS) if (folder / name).exists()).read_text()
    if "Type=oneshot" in text:
        return
    for setting in ("MemoryMax=", "TasksMax=", "Restart=", "RestartSteps=", "RestartMaxDelaySec="):
        assert f"\n{setting}" in text, f"{name} has no {setting}"


@pytest.mark.parametrize("name", ["cellule-pool.service", "cellule-engine@.service"])
def test_pool_and_engine_have_a_watchdog(name: str) -> None:
    text = (UNITS / name).read_text()
    assert "\nType=notify\n" in text
    assert "\nWatchdogSec=" in text


def test_every_link_leads_to_a_unit_of_ours_of_debian_or_to_nothing() -> None:
    """A unit of ours must exist; one of Debian's is named in full; a masked one leads to /dev/null."""
    wrong = []
    for link in ETC_UNITS.rglob("*"):
        target = link.readlink() if link.is_symlink() else None
        if target is None or str(target) == "/dev/null":
            continue
        path = ROOTFS / target.relative_to("/") if target.is_absolute() else link.parent / target
        if not path.exists() and not (target.is_absolute() and "cellule" not in target.name):
            wrong.append(f"{link.relative_to(ROOTFS)} -> {target}")
    assert not wrong


def test_a_good_start_keeps_its_counter() -> None:
    """Decision 0010: where systemd took it away, a root that is damaged later would be started for ever."""
    assert str((ETC_UNITS / "systemd-bless-boot.service").readlink()) == "/dev/null"
    blessing = (UNITS / "cellule-blessing.service").read_text()
    assert "\nRequires=boot-complete.target\nAfter=boot-complete.target\n" in blessing
    assert (ETC_UNITS / "multi-user.target.wants" / "cellule-blessing.service").is_symlink()


def test_nobody_can_sign_in_and_no_name_is_asked_of_the_internet() -> None:
    for masked in ("getty@.service", "serial-getty@.service", "debug-shell.service", "rpcbind.socket"):
        assert str((ETC_UNITS / masked).readlink()) == "/dev/null"
    configuration = ROOTFS / "usr" / "lib" / "systemd"
    assert "\nFallbackNTP=\n" in (configuration / "timesyncd.conf.d" / "cellule.conf").read_text()
    assert "\nFallbackDNS=\n" in (configuration / "resolved.conf.d" / "cellule.conf").read_text()


@pytest.mark.parametrize(
    ("upstream", "configuration"),
    [("pool", "appliance/pool/gunicorn_conf.py"), ("pages", "webadmin/gunicorn_conf.py")],
)
def test_nginx_lets_go_of_a_kept_connection_before_the_other_side_does(
    upstream: str, configuration: str
) -> None:
    """Else a request now and then goes out over a connection that is being closed."""
    nginx = (ROOTFS / "etc" / "nginx" / "nginx.conf").read_text().split(f"upstream {upstream} {{")[1]
    kept_by_nginx = re.search(r"keepalive_timeout (\d+)s;", nginx)
    kept_by_gunicorn = re.search(r"^keepalive = (\d+)$", (ROOT / configuration).read_text(), re.MULTILINE)
    assert kept_by_nginx and kept_by_gunicorn
    assert int(kept_by_nginx[1]) < int(kept_by_gunicorn[1])


@pytest.mark.parametrize("name", ["cellule-engines", "cellule-split-engines"])
def test_engines_of_given_models_may_open_graphics_and_npus(name: str) -> None:
    """Debian's udev gives the nodes of all three to the group render."""
    text = (UNITS / f"{name}.service.d" / "60-own.conf").read_text()
    assert "\nPrivateDevices=no\n" in text and "\nSupplementaryGroups=render\n" in text
    for devices in ("char-drm", "char-accel", "char-kfd"):
        assert f"\nDeviceAllow={devices} rw\n" in text


def test_root_may_open_the_tpm_that_udev_gives_to_another_user() -> None:
    """tpm-udev gives /dev/tpmrm0 to tss: without this capability no partition could be bound to a TPM."""
    text = (UNITS / "cellule-partition.service").read_text()
    assert "CAP_DAC_OVERRIDE" in text.split("\nCapabilityBoundingSet=")[1].splitlines()[0]
    assert "\nDeviceAllow=char-tpm rw\n" in text
