"""Programs of the image itself, called on this machine's files: the real systemd-cryptenroll, RAUC, sfdisk.

Each becomes a small script on PATH that enters a root which the build of the image left in its cache, in
mounts of its own; the test's folder stands in there at the same path. Without the cache the tests are
skipped, loudly.
"""

import os
import subprocess
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("CELLULE_CACHE", Path.home() / ".cache" / "cellule"))
ENTER = """\
#!/bin/sh
exec unshare --mount --propagation slave sh -c '
    set -e
    root=$1 folder=$2; shift 2
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    exec env PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
' _ {root} {folder} {program} "$@"
"""


def tools_root() -> Path:
    """The newest root that images are built in."""
    found = sorted(CACHE.glob("tools-*/usr/bin/rauc"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip("NOT TESTED: no tools root in the cache; run ./build.sh image once")
    return found[-1].parents[2]


def image_root(folder: Path) -> Path:
    """The Debian half of the small image, unpacked in `folder`."""
    found = sorted(CACHE.glob("base-small-*/base.tar"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip("NOT TESTED: no root of the image in the cache; run ./build.sh image once")
    root = folder / "image-root"
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", found[-1]], check=True)
    return root


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, root: Path, *programs: str) -> None:
    """Makes `programs` those of `root`, with `folder` visible to them."""
    scripts = folder / "programs"
    for program in programs:
        write_program(scripts / program, ENTER.format(root=root, folder=folder, program=program))
    monkeypatch.setenv("PATH", f"{scripts}:{os.environ['PATH']}")


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
