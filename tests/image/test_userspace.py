"""The image's services, each in its sandbox: they come up, the verdict is good, what hangs comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.userspace import Userspace
from tests.image.works import Works
from tests.waiting import wait_until

pytestmark = pytest.mark.core

ENGINE = "cellule-engine@cellule-demo"
SERVICES = ("cellule-broker", "cellule-core", "cellule-web", "cellule-pool", "nginx", ENGINE)
MAY = {"nginx": 1 << 10}
"""Capabilities that a service has in spite of its sandbox: CAP_NET_BIND_SERVICE."""
SHOW_CERTIFICATE = "import ssl; print(ssl.get_server_certificate(('127.0.0.1', 443)))"
ASK_FRONT = """if True:
    import http.client
    front = http.client.HTTPConnection("127.0.0.1", 80)
    front.request("GET", "/chat")
    answer = front.getresponse()
    print(answer.status, answer.read().decode())
"""
AS_CELLULE = """set -a
. /usr/lib/cellule/environment
cd /usr/lib/cellule
exec setpriv --reuid=cellule --regid=cellule --init-groups python3 -c "$1"
"""
BRING_A_MODEL = """if True:
    from appliance.clock import now
    from appliance.models import UploadFile, UploadOrder, ask_get, receive_chunk
    from appliance.models.demo import DEMO_MODEL_PATH
    from appliance.settings import load_settings
    from appliance.storage import open_activity, open_cellule
    settings, data = load_settings(), DEMO_MODEL_PATH.read_bytes()
    order = UploadOrder(files=(UploadFile(path="second.gguf", size_bytes=len(data)),))
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        get = ask_get(settings, db, activity, "second", order, by=None, at=now())
        receive_chunk(settings.state_dir, activity, get.id, path="second.gguf", offset=0, data=data)
"""
ASK_SECOND = """if True:
    from appliance.boot.asking import ask
    from appliance.settings import load_settings
    print(ask(load_settings().engine_socket("second"), "/health/ready")[1].decode())
"""
BLESSING = "cellule-blessing.service"
_BOOTED_FROM_SLOT_B = f"""
uuid=01234567-89ab-cdef-0123-456789abcdef
mkdir -p /dev/cellule /dev/disk/by-partuuid /efi/EFI/Linux
touch /dev/cellule/esp /dev/sda4
ln -s ../sda4 /dev/cellule/root-b
ln -s ../../sda4 /dev/disk/by-partuuid/$uuid
touch /efi/EFI/Linux/cellule_1.0.0_a+5.efi /efi/EFI/Linux/cellule_1.1.0_b+2-1.efi
echo "quiet roothash=$(echo $uuid | tr -d -){"f" * 32}" >/run/command-line
mount --bind /run/command-line /proc/cmdline
systemctl start {BLESSING}
umount /proc/cmdline
ls /efi/EFI/Linux
systemctl is-active boot-complete.target
"""


@pytest.fixture(scope="module")
def userspace(works: Works) -> Iterator[Userspace]:
    changed = {
        f"etc/systemd/system/{ENGINE}.service.d/70-sooner.conf": "[Service]\nWatchdogSec=3\n",
        # a /proc of its own would show this machine's command line
        f"etc/systemd/system/{BLESSING}.d/70-shared.conf": "[Service]\nProtectProc=default\n",
    }
    with Userspace(works.out / "work" / "root", changed) as userspace:
        yield userspace


def test_the_boot_is_good_and_no_service_had_to_start_twice(userspace: Userspace) -> None:
    started = userspace.run("systemctl", "start", "boot-complete.target")
    assert started.returncode == 0, started.stderr
    for service in SERVICES:
        assert userspace.shown(service, "ActiveState") == "active", service
        assert userspace.shown(service, "NRestarts") == "0", service
    assert userspace.shown("cellule-front-without-data", "ActiveState") == "inactive"
    failed = userspace.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
    assert not [line for line in failed.splitlines() if "cellule" in line or "nginx" in line], failed


def test_a_good_boot_has_all_its_tries_again(userspace: Userspace) -> None:
    """Its disk and its command line are made here; the verdict and the unit are the real ones."""
    shown = userspace.run("sh", "-euc", _BOOTED_FROM_SLOT_B)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == ["cellule_1.0.0_a+5.efi", "cellule_1.1.0_b+5.efi", "active"]


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "cellule-broker"])
def test_a_service_runs_without_roots_powers(userspace: Userspace, service: str) -> None:
    status = userspace.run("cat", f"/proc/{userspace.shown(service, 'MainPID')}/status").stdout
    said = dict(line.split(":\t", 1) for line in status.splitlines())
    assert said["Uid"].split()[0] != "0"
    assert int(said["CapBnd"], 16) == int(said["CapEff"], 16) == MAY.get(service, 0)
    assert said["NoNewPrivs"] == "1"
    assert said["Seccomp"] == "2", "a filter of system calls"


def test_what_is_kept_is_mounted_where_it_belongs_with_its_owner(userspace: Userspace) -> None:
    """By the units that the generator makes of the table."""
    table = (Path(__file__).parents[2] / "rootfs/usr/lib/cellule/kept").read_text()
    rows = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    assert len(rows) > 5
    for path, owner, mode in rows:
        assert userspace.run("mountpoint", "--quiet", path).returncode == 0, path
        stat = userspace.run("stat", "--format", "%U:%G %04a", path).stdout
        assert stat == f"{owner} {mode}\n", path
    assert userspace.shown("cellule-data", "Result") == "success"
    assert "The data partition is mounted, in memory." in userspace.run("sh", "-c", "cat /data/boot/*").stdout


def test_nginx_alone_listens_to_the_lan(userspace: Userspace) -> None:
    listening = userspace.run("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header").stdout
    doors = {line.split()[3]: line for line in listening.splitlines() if "127.0.0." not in line.split()[3]}
    assert doors.keys() == {"0.0.0.0:80", "0.0.0.0:443"}
    assert all("nginx" in line for line in doors.values())


@pytest.mark.parametrize("user", ["systemd-network", "systemd-timesync", "cellule"])
def test_what_the_broker_settled_is_read_by_daemons_that_are_not_root(
    userspace: Userspace, user: str
) -> None:
    for path in (
        "/run/systemd/network/50-cellule.network",
        "/run/systemd/timesyncd.conf.d/50-cellule.conf",
        "/etc/localtime",
    ):
        read = userspace.run("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", "cat", path)
        assert read.returncode == 0, read.stderr


def test_an_engine_that_hangs_is_started_anew(userspace: Userspace) -> None:
    hung = userspace.shown(ENGINE, "MainPID")
    userspace.run("kill", "-STOP", hung)
    wait_until(
        lambda: userspace.shown(ENGINE, "MainPID") not in (hung, "0"),
        within_seconds=15,
        every_seconds=0.2,
        what="another engine runs",
    )
    assert userspace.shown(ENGINE, "Result") in ("success", "watchdog")


def test_a_renewed_certificate_is_served_by_the_same_nginx(userspace: Userspace) -> None:
    def served() -> str:
        return userspace.run("python3", "-c", SHOW_CERTIFICATE).stdout

    nginx, before = userspace.shown("nginx", "MainPID"), served()
    userspace.run("rm", "/var/lib/cellule/secrets/tls.crt")
    wait_until(
        lambda: before != served() != "", within_seconds=30, every_seconds=0.5, what="another certificate"
    )
    assert userspace.shown("nginx", "MainPID") == nginx


def test_one_service_cant_reach_what_is_anothers(userspace: Userspace) -> None:
    """As the user of each service, outside of its sandbox even."""
    reachable = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    for user, path, may in (
        ("www-data", "/run/cellule/pool.sock", True),
        ("www-data", "/run/cellule-broker/broker.sock", False),
        ("www-data", "/run/cellule-engine/engine-cellule-demo.sock", False),
        ("cellule-engine", "/run/cellule/pool.sock", False),
        ("cellule-engine", "/run/cellule/web.sock", False),
        ("cellule-engine", "/run/cellule-broker/broker.sock", False),
        ("cellule", "/run/cellule-engine/engine-cellule-demo.sock", True),
        ("cellule", "/run/cellule-broker/broker.sock", True),
        ("nobody", "/run/cellule/pool.sock", False),
    ):
        program = (
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--init-groups",
            "python3",
            "-c",
            reachable,
        )
        if user == "nobody":
            program = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *program[4:])
        assert (userspace.run(*program, path).returncode == 0) is may, (user, path)


def test_a_model_that_is_brought_is_planned_and_loaded_in_a_sandbox_of_its_own(userspace: Userspace) -> None:
    """The whole way: upload, store, plan, spec, the unit that it starts, an engine that reads the files."""
    assert userspace.shown("cellule-engines.service", "ActiveState") == "inactive", "nothing to tend to yet"
    brought = userspace.run("sh", "-euc", AS_CELLULE, "sh", BRING_A_MODEL)
    assert brought.returncode == 0, brought.stderr

    def ready() -> bool:
        return '"ready":true' in userspace.run("sh", "-euc", AS_CELLULE, "sh", ASK_SECOND).stdout

    wait_until(ready, within_seconds=120, every_seconds=1, what="the second model answers")
    pid = userspace.shown("cellule-engines.service", "MainPID")
    status = userspace.run("cat", f"/proc/{pid}/status").stdout
    said = dict(line.split(":\t", 1) for line in status.splitlines())
    assert said["Uid"].split()[0] == "901" and said["NoNewPrivs"] == "1" and said["Seccomp"] == "2"
    inside = userspace.run("nsenter", "--target", pid, "--mount", "ls", "/var/lib/cellule").stdout.split()
    assert inside == ["engines", "models"], "of the data an engine sees these and nothing else"


NO_DATA = """\
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RuntimeDirectory=cellule-data
RuntimeDirectoryPreserve=yes
ExecStart=/usr/bin/sh -c 'echo The disk is not there. >/run/cellule-data/trouble; exit 1'
"""


def test_without_its_data_the_box_tells_why_and_can_still_be_reset(works: Works) -> None:
    """What would take it for a new box stays down; network, power button, broker and a page come up."""
    away = {"etc/systemd/system/cellule-partition.service": NO_DATA}
    with Userspace(works.out / "work" / "root", away) as userspace:
        for service in ("cellule-prepare", "cellule-core", "cellule-pool", "cellule-web"):
            assert userspace.shown(service, "ActiveState") == "inactive", service
        for service in ("cellule-broker", "systemd-logind", "systemd-networkd"):
            assert userspace.shown(service, "ActiveState") == "active", service
        wait_until(
            lambda: "The disk is not there." in userspace.run("python3", "-c", ASK_FRONT).stdout,
            within_seconds=30,
            every_seconds=0.5,
            what="a browser is told why",
        )
        assert userspace.run("python3", "-c", ASK_FRONT).stdout.startswith("503 ")
        assert userspace.shown("nginx", "ActiveState") == "inactive"
        # what has state below /var starts again, and nobody is asked for the recovery key again
        tried = userspace.shown("cellule-partition", "InvocationID")
        again = userspace.run("systemctl", "restart", "systemd-logind", "cellule-broker")
        assert again.returncode == 0, again.stderr
        assert userspace.shown("cellule-partition", "InvocationID") == tried
        assert userspace.run("cat", "/run/cellule-data/trouble").stdout == "The disk is not there.\n"


def test_a_mount_that_fails_has_a_word_for_the_console(works: Works) -> None:
    no_device = NO_DATA.replace(
        "echo The disk is not there. >/run/cellule-data/trouble; exit 1",
        "ln -s /dev/null /run/cellule-data/device",
    )
    with Userspace(
        works.out / "work" / "root", {"etc/systemd/system/cellule-partition.service": no_device}
    ) as userspace:
        wait_until(
            lambda: "data.mount" in userspace.run("cat", "/run/cellule-data/trouble").stdout,
            within_seconds=30,
            every_seconds=0.5,
            what="the console's word",
        )
        assert userspace.shown("cellule-prepare", "ActiveState") == "inactive"
