"""The image against a bare Debian 13 with the same kernel: its start; and its size, its build, its updates.

Both start in this run from one firmware, systemd-boot and a unified kernel image, on the same emulated
machine (two processors, no KVM), by turns. The bare Debian (bare_debian.sh) is timed from power on to
multi-user.target, ours to the verdict: the host broker, the pool and the pages answered, and the engine a
fixed prompt. What a first start makes (our data partition, keys and certificates; Debian's machine id) is in
the first line of the two.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.image.box import Box
from tests.image.office import Office
from tests.image.releases import change_a_line

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("CELLULE_CACHE", Path.home() / ".cache" / "cellule"))
VERSION, NEXT_VERSION = "1.0.0", "1.0.1"
MULTI_USER = r"multi-user\.target is reached"
GOOD = r" {3}ready"
"""The console's word in its upper right corner when the verdict is good, in the place of "starting"."""
STARTS = ("first start", "second start")
MOST_TIMES_DEBIAN = 1.5
MOST_BUILD_SECONDS = 300.0
MOST_ROOT_MEGABYTES = {"small": 400.0, "shipped": 900.0}
MOST_OF_THE_BUNDLE = 0.15
LARGEST_THINGS = 10
_INSTALLED_BLOCK = 4096
"""What RAUC's block-hash-index compares."""
_BUNDLED_BLOCK = 16384
"""The blocks of the bundle's squashfs (image/80-bundle.sh): the least that can be fetched."""


@dataclass(frozen=True)
class Built:
    """One variant, built in `folder` of its own."""

    variant: str
    folder: Path
    keys: Path

    def make(self, version: str, overlay: Path | None = None, *, only_bundle: bool) -> float:
        """Builds a release of the working tree; the seconds that it took."""
        variables = {"VARIANT": self.variant, "OUT": str(self.folder), "FOLLOW": "1", "WORKING_TREE": "1"}
        variables |= {"OVERLAY": str(overlay)} if overlay else {}
        variables |= {"ONLY_BUNDLE": "1"} if only_bundle else {}
        began = time.monotonic()
        made = subprocess.run(
            [str(ROOT / "image" / "make.sh"), version, str(self.keys)],
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"the image could not be built:\n{made.stderr[-3000:]}")
        return time.monotonic() - began

    @property
    def slot(self) -> Path:
        return self.folder / "work" / "slot"

    @property
    def root(self) -> Path:
        return self.folder / "work" / "root"

    @property
    def root_megabytes(self) -> float:
        return (self.slot / "root.img").stat().st_size / 1e6

    def bundle_bytes(self, version: str) -> int:
        return (self.folder / f"cellule-{version}-{self.variant}.raucb").stat().st_size


def main() -> bool:
    """Prints the figures; returns whether every target was met."""
    with tempfile.TemporaryDirectory(prefix="cellule-bench-") as name:
        folder = Path(name)
        subprocess.run([str(ROOT / "image" / "keys.sh"), str(folder / "keys")], check=True)
        small = Built("small", folder / "small", folder / "keys")
        shipped = Built("shipped", folder / "shipped", folder / "keys")
        say(f"building with cold caches where they are cold; load {os.getloadavg()[0]:.1f}")
        small.make(VERSION, only_bundle=False)
        shipped.make(VERSION, only_bundle=True)
        met = [_build(small), _size(small), _size(shipped), _start(small, folder), _update(small, folder)]
    return all(met)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def verdict(what: str, wanted: str, measured: str, *, reached: bool) -> bool:
    """Prints one target's line."""
    print(f"{what}: wanted {wanted}, measured {measured}: {'' if reached else 'NOT '}reached", flush=True)
    return reached


def _build(small: Built) -> bool:
    seconds = small.make(VERSION, only_bundle=False)
    return verdict(
        "build of the small image from warm caches",
        f"under {MOST_BUILD_SECONDS:.0f} s",
        f"{seconds:.0f} s",
        reached=seconds < MOST_BUILD_SECONDS,
    )


def _size(built: Built) -> bool:
    most = MOST_ROOT_MEGABYTES[built.variant]
    print(f"what takes the room in the {built.variant} root, before compression:")
    for thing, size in largest_things(built.root):
        print(f"  {size / 1e6:7.1f} MB  /{thing}")
    return verdict(
        f"root of the {built.variant} image",
        f"at most {most:.0f} MB",
        f"{built.root_megabytes:.0f} MB",
        reached=built.root_megabytes <= most,
    )


def largest_things(root: Path) -> list[tuple[Path, int]]:
    """The folders of a few levels, or single large files, that hold the most bytes."""
    sizes: Counter[Path] = Counter()
    for parent, _, names in os.walk(root):
        for name in names:
            file = Path(parent, name)
            parts = file.relative_to(root).parts
            # one level deeper where each folder is a package
            depth = 5 if any(part.endswith("-packages") for part in parts) else 4
            sizes[Path(*parts[:depth])] += file.lstat().st_size
    return sizes.most_common(LARGEST_THINGS)


def _start(small: Built, folder: Path) -> bool:
    kernel = next((small.root / "usr/lib/modules").iterdir()).name
    peer_disk, own_disk = bare_debian(kernel), small.folder / f"cellule-{VERSION}-small.raw"
    met = True
    with Office("pc") as office:
        office.open_for_business()
        debian = Box(office, folder / "debian", peer_disk, mac="52:54:00:ce:11:02")
        ours = Box(office, folder / "cellule", own_disk)
        for which in STARTS:
            load = os.getloadavg()[0]
            peer = seconds_to(debian, MULTI_USER, Box.wait_until_off)
            own = seconds_to(ours, GOOD, Box.press_power_button)
            met &= verdict(
                f"{which}, power on to the first answered prompt",
                f"at most {MOST_TIMES_DEBIAN} x a bare Debian with kernel {kernel}",
                f"{own:.1f} s / {peer:.1f} s = {own / peer:.2f} x (load before {load:.1f})",
                reached=own <= MOST_TIMES_DEBIAN * peer,
            )
    return met


def seconds_to(box: Box, words: str, turn_off: Callable[[Box], None]) -> float:
    """From power on until its serial line shows `words`; then it is turned off in good order."""
    since = len(box.screen)
    box.start()
    try:
        box.wait_for_console(words, since=since)
        seconds = time.monotonic() - box.started_at
        turn_off(box)
    finally:
        box.pull_the_cord()
    return seconds


def bare_debian(kernel: str) -> Path:
    """The peer's disk, kept in the cache by its recipe and kernel."""
    recipe = Path(__file__).with_name("bare_debian.sh")
    digest = hashlib.sha256(recipe.read_bytes() + kernel.encode()).hexdigest()[:16]
    disk = CACHE / f"bare-debian-{digest}" / "disk.raw"
    if not disk.exists():
        say("making the bare Debian, once: about two minutes")
        subprocess.run([str(recipe), kernel, str(disk)], check=True)
    return disk


def _update(small: Built, folder: Path) -> bool:
    """What a box would fetch of a release that changes Python only, computed as an upper bound.

    Every changed block of the root with the bundle's block around it, as if it were not compressed, the
    whole hash tree, the index of the root's blocks and the kernel image where it is another one. The same is
    measured in virtual machines, through HTTP, by tests/image/test_updates.py.
    """
    before = folder / "before.img"
    (small.slot / "root.img").rename(before)
    kernel_before = (small.slot / "kernel.sha256").read_text()
    overlay = folder / "overlay"
    overlay.mkdir()
    change_a_line(overlay)
    small.make(NEXT_VERSION, overlay, only_bundle=True)
    root = small.slot / "root.img"
    fetched = changed_bytes(before, root) + (small.slot / "verity.img").stat().st_size
    fetched += root.stat().st_size // _INSTALLED_BLOCK * 32
    if (small.slot / "kernel.sha256").read_text() != kernel_before:
        fetched += (small.slot / "kernel.efi").stat().st_size
    share = fetched / small.bundle_bytes(NEXT_VERSION)
    return verdict(
        "a release that changes only our Python code",
        f"at most {MOST_OF_THE_BUNDLE:.0%} of the bundle fetched",
        f"{share:.1%}, {fetched / 1e6:.1f} MB (computed, an upper bound)",
        reached=share <= MOST_OF_THE_BUNDLE,
    )


def changed_bytes(before: Path, after: Path) -> int:
    """The bundle's blocks of `after` that hold at least one block which `before` has nowhere."""
    known = {hashlib.sha256(block).digest() for block in blocks(before, _INSTALLED_BLOCK)}
    return sum(
        len(block)
        for block in blocks(after, _BUNDLED_BLOCK)
        if any(
            hashlib.sha256(block[at : at + _INSTALLED_BLOCK]).digest() not in known
            for at in range(0, len(block), _INSTALLED_BLOCK)
        )
    )


def blocks(file: Path, size: int) -> Iterator[bytes]:
    """The file in pieces of `size` bytes."""
    with file.open("rb") as opened:
        while block := opened.read(size):
            yield block
