"""The userspace of the image without its kernel: systemd as the first process of namespaces of its own.

Seconds instead of the minute of an emulated machine, with the real units in their real sandboxes. What a
container can't have is left out: the disk (a folder in memory stands for the data partition), the consoles,
the kernel's settings and modules. The root itself stays as it was: all that is written goes to memory.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import wait_until

_PARTITION = """\
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
RuntimeDirectory=cellule-data
RuntimeDirectoryPreserve=yes
ExecStart=/usr/bin/mount -t tmpfs tmpfs /data
ExecStart=/usr/bin/sh -c 'echo in memory >/run/cellule-data/how'
"""
_LEFT_OUT = ("efi.mount", "efi.automount", "systemd-sysctl.service", "systemd-modules-load.service")
# 1: the image's root, 2: a folder for mounts; the new root must know nothing of the machine outside
_ENTER = """\
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
cp -a "$3/." "$2/upper/"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mkdir -p old proc sys dev run tmp data efi
mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do : >"dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
: >dev/console; mount --bind /dev/null dev/console
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
pivot_root . old
umount -l /old
exec env -i container=other PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --show-status=0
"""


class Userspace:
    """Boots `root`, with `files` (path in it → text) laid over it; ended on leaving."""

    def __init__(self, root: Path, files: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._folder = tempfile.TemporaryDirectory(prefix="cellule-userspace-")
        overlay = self._path("overlay")
        etc = "etc/systemd/system"
        for path, text in {f"{etc}/cellule-partition.service": _PARTITION, **(files or {})}.items():
            (overlay / path).parent.mkdir(parents=True, exist_ok=True)
            (overlay / path).write_text(text)
        for unit in _LEFT_OUT:
            (overlay / etc / unit).symlink_to("/dev/null")
        (overlay / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")

    def __enter__(self) -> Self:
        self._path("mounts")
        kinds = ("--pid", "--mount", "--fork", "--uts", "--ipc", "--net", "--cgroup", "--kill-child")
        folders = (str(self._root), str(self._path("mounts")), str(self._path("overlay")))
        self._log = (Path(self._folder.name) / "log").open("wb")
        self._process = subprocess.Popen(
            ["unshare", *kinds, "sh", "-c", _ENTER, "enter", *folders],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._init = wait_until(self._first_process, within_seconds=10, what="systemd runs")
            wait_until(
                lambda: self.run("systemctl", "is-active", "multi-user.target").stdout == "active\n",
                within_seconds=60,
                every_seconds=0.2,
                what="multi-user.target is reached",
            )
        except AssertionError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.run("journalctl", "--no-pager", "--output=short", "--lines=200").stdout)
        # the first process of the namespace takes all others with it
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._log.close()
        self._folder.cleanup()

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs `argv` inside, as root."""
        return subprocess.run(
            ["nsenter", "--target", str(self._init), "--all", "--", *argv],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin"},
        )

    def shown(self, unit: str, setting: str) -> str:
        """One property of a unit, as `systemctl show` tells it."""
        return self.run("systemctl", "show", "--property", setting, "--value", unit).stdout.strip()

    def _path(self, name: str) -> Path:
        path = Path(self._folder.name) / name
        path.mkdir(exist_ok=True)
        return path

    def _first_process(self) -> int | None:
        assert self._process.poll() is None, (Path(self._folder.name) / "log").read_text()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in map(int, children):
            if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                return pid
        return None
