"""A box with its store, small real models, and a hub beside it."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.clock import now
from appliance.host import Host, this_machine
from appliance.models import (
    CarriedOrder,
    Get,
    HubOrder,
    ModelsChoice,
    UploadOrder,
    ask_get,
    held_model,
    read_get,
)
from appliance.models.following import follow_gets
from appliance.models.getting import stopping
from appliance.models.held import HeldModel
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, write_choice
from tests.bench.random_model import TINY, Shape, random_model
from tests.models.hub_server import REPOSITORY, Content, HubServer, serving

SMALL = Shape("Random small", 4096, 256, 768, 4, 4, 2)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("gguf"), TINY)


@pytest.fixture(scope="session")
def small_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 4 MB: many pieces of a download."""
    return random_model(tmp_path_factory.mktemp("small"), SMALL)


@dataclass
class ModelBox:
    """Settings, databases and a simulated machine; `at` is its clock."""

    settings: Settings
    host: Host
    db: Database
    activity: Database
    at: float = field(default_factory=now)

    @property
    def stick(self) -> Path:
        """What lies on the USB stick; plugged in once the folder exists."""
        return self.settings.host_dir / "stick"

    def choose(self, **chosen: object) -> None:
        write_choice(self.db, ModelsChoice.model_validate(chosen), chosen_by="ana")

    def ask(self, name: str, order: HubOrder | CarriedOrder | UploadOrder) -> Get:
        return ask_get(self.settings, self.db, self.activity, name, order, by="ana", at=self.at)

    def turn(self) -> str:
        return follow_gets(self.settings, self.host, clock=lambda: self.at)

    def turn_elsewhere(self) -> str:
        """The same as the core does it, in a thread beside the test's."""
        return follow_gets(self.settings, this_machine(self.settings), clock=lambda: self.at)

    def get(self, name: str, order: HubOrder | CarriedOrder | UploadOrder) -> Get:
        """Asks for it and lets the core take one turn."""
        asked = self.ask(name, order)
        self.turn()
        return read_get(self.activity, asked.id)

    def model(self, name: str) -> HeldModel:
        return held_model(self.db, name)

    def put_on_stick(self, *files: Path, folder: str = "") -> None:
        (self.stick / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, self.stick / folder / file.name)

    def incoming(self) -> list[str]:
        return sorted(path.name for path in (self.settings.state_dir / "models" / "incoming").glob("*"))


@pytest.fixture
def box(settings: Settings) -> Iterator[ModelBox]:
    host = this_machine(settings)
    stopping.clear()  # a core that ended in this process before
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        yield ModelBox(settings, host, db, activity)


@pytest.fixture
def content(small_gguf: Path) -> Content:
    """A repository with a large file and small ones."""
    files = {"tiny-Q8_0.gguf": small_gguf.read_bytes(), "README.md": b"# Tiny\n", "notes/a.txt": b"a"}
    return Content(files, large={"tiny-Q8_0.gguf"})


@pytest.fixture
def elsewhere(content: Content) -> Iterator[HubServer]:
    with serving(content) as server:
        yield server


@pytest.fixture
def hub(content: Content, elsewhere: HubServer) -> Iterator[HubServer]:
    with serving(content, elsewhere) as server:
        yield server


@pytest.fixture
def order() -> HubOrder:
    return HubOrder(repository=REPOSITORY, files=("*Q8_0.gguf", "README.md"))


@pytest.fixture
def small_disk(box: ModelBox) -> Iterator[ModelBox]:
    """The same box with its state on a disk of 12 MB."""
    folder = box.settings.state_dir / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=True)
    try:
        for name in ("run", "secrets"):
            (folder / name).mkdir()
        settings = box.settings.model_copy(update={"state_dir": folder})
        with open_cellule(folder) as db, open_activity(folder) as activity:
            yield ModelBox(settings, this_machine(box.settings), db, activity)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
