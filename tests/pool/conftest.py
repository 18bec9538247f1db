"""The real pool under gunicorn, with scripted engines on the box's sockets."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import orjson
import pytest
from openai import OpenAI
from sqlite_utils import Database

from appliance.people.api_keys import NewApiKey, create_api_key
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.pool.upstreams import ScriptedEngine
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class Box:
    """A running pool with its state directory, one key, and the means to look into both."""

    settings: Settings
    key: NewApiKey
    process: subprocess.Popen[bytes]
    log_path: Path
    engines: list[ScriptedEngine] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.settings.base_url

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key.secret}"}

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One GET. Raises OSError when nobody answers."""
        try:
            return httpx.get(f"{self.url}{path}", headers=headers, verify=False)
        except httpx.TransportError as error:
            raise OSError(str(error)) from error

    def openai(self, secret: str | None = None) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=secret or self.key.secret, max_retries=0, timeout=20)

    def cellule(self) -> Database:
        return open_cellule(self.settings.state_dir)

    def new_key(self, name: str, **given: object) -> NewApiKey:
        """Makes a key and returns when the pool knows it."""
        key = create_api_key(self.cellule(), name, account_id=None, **given)  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {key.secret}"}
        wait_until(
            lambda: self.get("/v1/models", **headers).status_code == 200,
            within_seconds=3,
            what="the pool knows the new key",
        )
        return key

    def engine(self, name: str = "scripted", **given: object) -> ScriptedEngine:
        """A scripted engine on one of the box's sockets, once the pool uses it."""
        engine = ScriptedEngine(self.settings.engine_socket(name), model=name, **given).start()  # type: ignore[arg-type]
        self.engines.append(engine)
        self.wait_for_model(name)
        return engine

    def wait_for_model(self, model: str) -> None:
        wait_until(
            lambda: model in self.get("/health/ready").json()["models"],
            within_seconds=8,
            what=f"the pool can answer with {model}",
        )

    def chat(self, prompt: str = "hello", *, model: str = "scripted", secret: str | None = None, **more: object) -> httpx.Response:
        """One chat request over plain HTTP."""
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": prompt}], **more},
            headers={"authorization": f"Bearer {secret or self.key.secret}"},
            timeout=30,
        )

    def ledger(self, expected: int) -> list[dict[str, object]]:
        """The ledger's rows, once there are at least `expected`."""
        database = open_activity(self.settings.state_dir)
        wait_until(
            lambda: database["ledger"].count >= expected, within_seconds=5, what=f"{expected} ledger lines"
        )
        return list(database.query("SELECT * FROM ledger ORDER BY id"))

    def reported(self) -> dict[str, object]:
        """What the pool last reported of itself."""
        row = open_activity(self.settings.state_dir).execute("SELECT report FROM node_reports WHERE node = 'pool'")
        report: dict[str, object] = orjson.loads(row.fetchone()[0])
        return report

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(sent)
        self.process.wait(25)


def start_box(settings: Settings, **environment: str) -> Box:
    """Starts gunicorn with the pool as the product does, and waits until it is live."""
    key = create_api_key(open_cellule(settings.state_dir), "test", account_id=None)
    variables = {
        f"CELLULE_{name.upper()}": str(value) for name, value in settings.model_dump().items() if value is not None
    }
    log_path = settings.state_dir / "pool.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "appliance/pool/gunicorn_conf.py", "appliance.pool.app:app"],
            cwd=ROOT,
            env={**os.environ, **variables, **environment, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    box = Box(settings, key, process, log_path)
    try:
        wait_until(
            lambda: box.get("/health/live").status_code == 200,
            within_seconds=20,
            what="the pool is live",
        )
    except Exception as error:
        process.kill()
        raise AssertionError(box.log) from error
    return box


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[..., Box]]:
    """Starts a pool with settings changed as asked; stopped at the end of the test."""
    boxes: list[Box] = []

    def start_one(**changes: object) -> Box:
        boxes.append(start_box(settings.model_copy(update=changes)))
        return boxes[-1]

    yield start_one
    for box in boxes:
        if box.process.poll() is None:
            box.stop()
        for engine in box.engines:
            engine.stop()


@pytest.fixture
def box(start: Callable[..., Box]) -> Box:
    """A pool with nothing behind it yet."""
    return start()
