"""The real pool under gunicorn, with scripted engines on the box's sockets and scripted workers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import orjson
import pytest
from openai import OpenAI
from sqlite_utils import Database

from appliance.people.api_keys import NewApiKey, create_api_key
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.conftest import free_port
from tests.pool.upstreams import ScriptedEngine
from tests.pool.workers import ScriptedWorker
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
QUICK = {
    "node_silent_seconds": 1.5,
    "queue_wait_seconds": 2,
    "body_seconds": 1,
    "reports_every_seconds": 0.2,
    "health_every_seconds": 0.2,
    "client_stall_seconds": 1.5,
}


@dataclass
class Box:
    """A running pool with its state directory, one key, and the means to look into both."""

    settings: Settings
    key: NewApiKey
    process: subprocess.Popen[bytes]
    log_path: Path
    engines: list[ScriptedEngine] = field(default_factory=list)
    workers: list[ScriptedWorker] = field(default_factory=list)

    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, verify=False))

    @property
    def url(self) -> str:
        return self.settings.base_url

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def pool_pid(self) -> int:
        """The gunicorn worker's process, which is the pool itself."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One GET. Raises OSError when nobody answers."""
        try:
            return self.http.get(f"{self.url}{path}", headers=headers)
        except httpx.TransportError as error:
            raise OSError(str(error)) from error

    def openai(self, secret: str | None = None) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=secret or self.key.secret, max_retries=0, timeout=20)

    def cellule(self) -> Database:
        return open_cellule(self.settings.state_dir)

    def new_key(self, name: str, **given: object) -> NewApiKey:
        """Makes a key and returns when the pool knows it."""
        key = create_api_key(self.cellule(), name, account_id=None, **given)  # type: ignore[arg-type]
        wait_until(
            lambda: self.get("/v1/models", authorization=f"Bearer {key.secret}").status_code == 200,
            within_seconds=3,
            what="the pool knows the new key",
        )
        return key

    def engine(self, name: str, **given: object) -> ScriptedEngine:
        """A scripted engine on one of the box's sockets, once the pool uses it."""
        engine = ScriptedEngine(self.settings.engine_socket(name), model=name, **given).start()  # type: ignore[arg-type]
        self.engines.append(engine)
        self.wait_for_model(name)
        return engine

    def worker(self, name: str, *, model: str, **given: object) -> ScriptedWorker:
        """A scripted worker, once the pool uses it."""
        worker = ScriptedWorker(self.settings, name, 10 + len(self.workers), model=model, **given)  # type: ignore[arg-type]
        self.workers.append(worker)
        gauge = f'cellule_pool_usable{{model="{model}",node="worker-{name}"}} 1.0'
        wait_until(lambda: gauge in self.metrics(), within_seconds=5, what=f"the pool uses {name}")
        return worker

    def metrics(self) -> str:
        return self.http.get(f"http://127.0.0.1:{self.settings.metrics_port}/metrics").text

    def wait_for_model(self, model: str, *, within_seconds: float = 8) -> None:
        wait_until(
            lambda: model in self.get("/health/ready").json()["models"],
            within_seconds=within_seconds,
            what=f"the pool can answer with {model}",
        )

    def chat(
        self, model: str, prompt: str = "hello", *, secret: str | None = None, **more: object
    ) -> httpx.Response:
        """One chat request over plain HTTP."""
        return self.http.post(
            f"{self.url}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": prompt}], **more},
            headers={"authorization": f"Bearer {secret or self.key.secret}"},
        )

    def ledger(self, expected: int, where: str = "1", *values: object) -> list[dict[str, Any]]:
        """The ledger's rows that match, once there are `expected`; fails if there are more."""
        database = open_activity(self.settings.state_dir)

        def enough() -> list[dict[str, Any]] | None:
            rows = list(database.query(f"SELECT * FROM ledger WHERE {where} ORDER BY id", values))
            return rows if len(rows) >= expected else None

        rows = wait_until(enough, within_seconds=5, what=f"{expected} ledger lines")
        assert len(rows) == expected
        return rows

    def reported(self, node: str = "pool") -> dict[str, Any]:
        """What the pool last reported of itself, or of the `node`."""
        query = "SELECT report FROM node_reports WHERE node = ?"
        report: dict[str, Any] = orjson.loads(
            open_activity(self.settings.state_dir).execute(query, [node]).fetchone()[0]
        )
        return report

    def stop(self) -> None:
        """Stops the pool as the supervisor does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(25)

    def stop_all(self) -> None:
        self.stop()
        self.stop_nodes()

    def stop_nodes(self) -> None:
        for engine in self.engines:
            engine.stop()
        for worker in self.workers:
            worker.stop()
            worker.revoke()
        self.engines.clear()


def start_box(settings: Settings, limits: dict[str, float] | None = None) -> Box:
    """Starts gunicorn with the pool as the product does, and waits until it is live."""
    key = create_api_key(open_cellule(settings.state_dir), "test", account_id=None)
    variables = settings.environment()
    log_path = settings.state_dir / "pool.log"
    app = "tests.pool.limited_app:app" if limits else "appliance.pool.app:app"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "appliance/pool/gunicorn_conf.py", app],
            cwd=ROOT,
            env=os.environ | variables | {"PYTHONPATH": str(ROOT), "TEST_POOL_LIMITS": json.dumps(limits)},
            stdout=log,
            stderr=log,
        )
    box = Box(settings, key, process, log_path)
    try:
        wait_until(
            lambda: box.get("/health/live").status_code == 200, within_seconds=20, what="the pool is live"
        )
    except AssertionError as error:
        process.kill()
        raise AssertionError(box.log) from error
    return box


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[..., Box]]:
    """Starts a pool with settings or limits changed as asked; stopped at the end of the test."""
    boxes: list[Box] = []

    def start_one(limits: dict[str, float] | None = None, **changes: object) -> Box:
        boxes.append(start_box(settings.model_copy(update=changes), limits))
        return boxes[-1]

    yield start_one
    for box in boxes:
        box.stop_all()


@pytest.fixture(scope="session")
def shared_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    state_dir = tmp_path_factory.mktemp("box")
    for folder in ("run", "secrets"):
        (state_dir / folder).mkdir(mode=0o700)
    box = start_box(
        Settings(state_dir=state_dir, port=free_port(), metrics_port=free_port(), body_limit_bytes=100_000),
        QUICK,
    )
    yield box
    box.stop_all()


@pytest.fixture
def box(shared_box: Box) -> Iterator[Box]:
    """One pool for many tests, with quick limits; each test brings engines of its own name."""
    yield shared_box
    shared_box.stop_nodes()
