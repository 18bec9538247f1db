"""What the tests of the image share: keys of their own, the small image, and releases made from it on demand.

An image costs a minute and a boot costs another, so each file tells one story of one box, from top to
bottom; most begin with `claimed`, a box that was started and claimed once and has stood still since, or
with `second`, which was updated once as well.
"""

import fcntl
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.image.box import Box, Frozen
from tests.image.channel_server import ChannelServer
from tests.image.leaving_alone import LeftAlone, leave_alone
from tests.image.office import Office
from tests.image.releases import change_a_line, publish
from tests.image.visitor import Visitor
from tests.image.watched_install import Updated, update_and_watch
from tests.image.works import CLAIM_CODE, FIRST_VERSION, ROOT, SECOND_VERSION, Works

LONGEST_FIRST = (
    "test_updates",
    "test_silence",
    "test_power_cuts",
    "test_trust",
    "test_reset",
    "test_refused",
)
"""Files in the order in which they are begun, so that the lanes end together; the others come after them."""
MadeOnce = Callable[[str, Callable[[], Any]], Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them chroot, mount and make namespaces."""
    for item in items:
        if "tests/image" in str(item.path):
            item.add_marker(pytest.mark.root)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return next((at for at, name in enumerate(LONGEST_FIRST) if name in item.path.name), len(LONGEST_FIRST))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Of the lanes that tests run in (pytest-xdist) the first one makes a thing, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made_once(name: str, make: Callable[[], Any]) -> Any:
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = shared / f"{name}.pickle"
            if not kept.exists():
                kept.write_bytes(pickle.dumps(make()))
            return pickle.loads(kept.read_bytes())

    return made_once


@pytest.fixture(scope="session")
def works(tmp_path_factory: pytest.TempPathFactory, made_once: MadeOnce) -> Works:
    """The small image of the working tree, signed with keys made now."""

    def make() -> Works:
        folder = tmp_path_factory.mktemp("image")
        keys = folder / "keys"
        subprocess.run([str(ROOT / "image" / "keys.sh"), str(keys)], check=True)
        works = Works(folder / "out", keys)
        works.out.mkdir()
        works.make(FIRST_VERSION, only_bundle=False)
        return works

    made: Works = made_once("works", make)
    return made


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """A LAN with a DHCP server and one employee's PC."""
    with Office("pc", "server") as office:
        office.open_for_business()
        yield office


@pytest.fixture(scope="session")
def frozen(works: Works, tmp_path_factory: pytest.TempPathFactory, made_once: MadeOnce) -> Frozen:
    """A box that was claimed by Ada and whose first boot was good, standing still."""

    def make() -> Frozen:
        with Office("pc") as office:
            office.open_for_business()
            box = Box(office, tmp_path_factory.mktemp("frozen"), works.disk)
            box.start()
            try:
                code = box.wait_for_console(CLAIM_CODE)[0]
                with Visitor(box) as ada:
                    ada.claim(code)
                box.wait_until_good()
                return box.freeze()
            finally:
                box.pull_the_cord()

    made: Frozen = made_once("frozen", make)
    return made


@pytest.fixture(scope="session")
def second_release(works: Works, made_once: MadeOnce) -> str:
    """Its version: the release after the first, good, with a changed line."""

    def make() -> str:
        works.make(SECOND_VERSION, change_a_line)
        return SECOND_VERSION

    made: str = made_once("second_release", make)
    return made


@pytest.fixture(scope="session")
def updated(
    works: Works,
    frozen: Frozen,
    second_release: str,
    tmp_path_factory: pytest.TempPathFactory,
    made_once: MadeOnce,
) -> Updated:
    """The claimed box, once it has installed the second release from slot b and was judged good with it."""

    def make() -> Updated:
        folder = tmp_path_factory.mktemp("updated")
        with Office("pc", "server") as office:
            office.open_for_business()
            with office.inside("server"):
                server = ChannelServer(folder / "channel", office.address("server"))
            publish(works, server.folder, second_release)
            box = Box(office, folder / "box", works.disk, frozen=frozen)
            box.start()
            try:
                return update_and_watch(box, server, second_release)
            finally:
                box.pull_the_cord()
                server.go_away()

    made: Updated = made_once("updated", make)
    return made


@pytest.fixture(scope="module")
def claimed(
    office: Office, works: Works, frozen: Frozen, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """A running box that Ada has claimed, at the release FIRST_VERSION in slot a."""
    box = Box(office, tmp_path_factory.mktemp("box"), works.disk, frozen=frozen)
    box.start()
    yield box
    box.pull_the_cord()


@pytest.fixture(scope="module")
def second(
    office: Office,
    works: Works,
    updated: Updated,
    channel: ChannelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Box]:
    """A running box that Ada has claimed, at SECOND_VERSION in slot b; `channel` is its vendor's."""
    shutil.copytree(updated.channel, channel.folder, dirs_exist_ok=True)
    box = Box(office, tmp_path_factory.mktemp("box"), works.disk, frozen=updated.frozen)
    box.start()
    yield box
    box.pull_the_cord()


@pytest.fixture(scope="module")
def channel(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChannelServer]:
    """A web server of the office, for a vendor's channels."""
    folder = tmp_path_factory.mktemp("channel")
    with office.inside("server"):
        server = ChannelServer(folder, office.address("server"))
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def left_alone(works: Works, frozen: Frozen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeftAlone]:
    """A claimed box that nobody uses, and somebody who listens to it."""
    with leave_alone(frozen, works.disk, tmp_path_factory.mktemp("left-alone")) as left_alone:
        yield left_alone
