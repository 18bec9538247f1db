"""Releases as their vendor hands them out, and as an admin asks a box for them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.image.box import Box
from tests.image.visitor import Visitor
from tests.image.works import ROOT, SECOND_VERSION, Works

FOUND_SECONDS = 180.0
_SUPERBLOCK_INODE_TABLE = slice(64, 72)
_INTO_THE_HASH_TREE_BYTES = 800_000


# --- the vendor ---


def publish(works: Works, channel: Path, version: str, keys: Path | None = None) -> Path:
    """Signs a bundle into a channel's folder; returns it there. `keys` are a vendor's, by default ours."""
    bundle = works.bundle(version)
    subprocess.run(
        [sys.executable, "-m", "appliance.updating.publish", "--version", version, "--bundle", str(bundle),
         "--channel", str(channel), "--keys", str((keys or works.keys) / "channel")],
        check=True,
    )  # fmt: skip
    return channel / "targets" / bundle.name


def bundle_again(works: Works, version: str, keys: Path | None = None) -> None:
    """Makes another bundle of the second release's root: under another version, or with other keys."""
    subprocess.run(
        [str(ROOT / "image" / "80-bundle.sh"), version, str(keys or works.keys)],
        env=os.environ | {"VARIANT": "small", "OUT": str(works.folder(SECOND_VERSION))},
        check=True,
    )
    works.folder(version).mkdir()
    (works.folder(SECOND_VERSION) / works.bundle(version).name).rename(works.bundle(version))


def change_a_line(root: Path) -> None:
    """What most releases are: a little Python."""
    changed = root / "usr/lib/cellule/appliance/clock.py"
    changed.parent.mkdir(parents=True)
    source = ROOT / "appliance" / "clock.py"
    changed.write_text(source.read_text() + "\n# this release differs here\n")


def flip_a_byte(file: Path, at: int) -> None:
    """Changes one byte of it."""
    with file.open("r+b") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 1]))


def block_that_every_box_fetches(bundle: Path) -> int:
    """A place in the bundle's hash tree, which is new in each release.

    The tree is the last large file in the bundle's squashfs, so it ends where the table of inodes begins
    (https://dr-emann.github.io/squashfs/squashfs.html).
    """
    with bundle.open("rb") as file:
        superblock = file.read(96)
    return int.from_bytes(superblock[_SUPERBLOCK_INODE_TABLE], "little") - _INTO_THE_HASH_TREE_BYTES


# --- the admin ---


def choose_channel(ada: Visitor, url: str) -> None:
    """Nothing is installed by itself; the window is never open while a test runs."""
    ada.submit("/updates", "/updates/choices", channel_url=url, days="0", begins="02:00", ends="02:01")


def wait_for_page(
    box: Box, ada: Visitor, said: str, timeout: float = FOUND_SECONDS, *, of: Callable[[str], str] = str
) -> str:
    """The page Updates, once it, or the part of it that `of` takes out, holds `said`."""
    pages: list[str] = []

    def is_said() -> bool:
        pages.append(ada.http.get("/updates").text)
        return said in of(pages[-1])

    try:
        box.wait_until(is_said, f"the page says {said!r}", timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}\nthe page said:\n{words_of(pages[-1])}") from error
    return pages[-1]


def wait_for_history(box: Box, ada: Visitor, version: str, said: str, timeout: float) -> str:
    """What the history says of `version`, once it says so."""
    of_version = partial(history_of, version=version)
    return of_version(wait_for_page(box, ada, said, timeout, of=of_version))


def order(box: Box, ada: Visitor, version: str, *, origin: str = "channel", restart: str = "now") -> None:
    """Waits until the page offers `version`, then presses install."""
    form = f'name="version" value="{version}"><input type="hidden" name="origin" value="{origin}"'
    wait_for_page(box, ada, form)
    answer = ada.submit("/updates", "/updates/install", version=version, origin=origin, restart=restart)
    assert "is being installed" in answer.text, words_of(answer.text)


def install(box: Box, ada: Visitor, version: str) -> None:
    """Has the box look at its channel, and installs `version` with a restart."""
    ada.submit("/updates", "/updates/look")
    order(box, ada, version)


def history_of(page: str, version: str) -> str:
    """What the page's history says of the newest install of `version`; "" for none."""
    row = re.search(rf'<td class="name">{re.escape(version)}<.*?</tr>', page, re.DOTALL)
    return words_of(row[0]) if row else ""


def words_of(page: str) -> str:
    """Its text without the markup."""
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)[:4000]
