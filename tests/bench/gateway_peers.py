"""The gateways that are compared, each as its makers advise for one process on one machine.

A peer is told where the upstream is and yields where it listens, the key it wants, and its processes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import psutil

from appliance.settings import Settings
from tests.conftest import free_port
from tests.pool.conftest import start_box
from tests.pool.workers import ScriptedWorker
from tests.waiting import wait_until

CACHE = Path(os.environ.get("CELLULE_CACHE", Path.home() / ".cache" / "cellule"))
_LITELLM = ("litellm[proxy]==1.106.2", "prometheus-client==0.26.0")
_KEY = "sk-bench-key"


@dataclass(frozen=True)
class Peer:
    """A running gateway."""

    name: str
    port: int
    key: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """CPU time of the process and all its children so far."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return sum(time.user + time.system for time in times)

    def resident_bytes(self) -> int:
        """Resident memory of the process that does the work."""
        return max(process.memory_info().rss for process in self.process.children(recursive=True))


@contextmanager
def _running(
    name: str, port: int, key: str, command: list[str], log: Path, **variables: str
) -> Iterator[Peer]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | variables)
    try:
        peer = Peer(name, port, key, psutil.Process(process.pid))
        wait_until(lambda: _answers(peer), within_seconds=120, what=f"{name} answers (its log: {log})")
        yield peer
    finally:
        process.terminate()
        process.wait(30)


def _answers(peer: Peer) -> bool:
    body = {"model": "mock", "messages": [{"role": "user", "content": "x"}]}
    headers = {"authorization": f"Bearer {peer.key}"}
    url = f"http://127.0.0.1:{peer.port}/v1/chat/completions"
    try:
        return httpx.post(url, json=body, headers=headers, timeout=10).status_code == 200
    except httpx.TransportError as error:
        raise OSError(str(error)) from error


@contextmanager
def upstream() -> Iterator[int]:
    """The upstream's port, while it runs."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.gateway_upstream", str(port)])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def nginx(upstream_port: int, folder: Path) -> Iterator[Peer]:
    """nginx as a bare proxy: no keys, no accounting, one worker, connections kept."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
        worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
        events {{ worker_connections 8192; }}
        http {{
            access_log off;
            upstream mock {{ server 127.0.0.1:{upstream_port}; keepalive 256; }}
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                keepalive_requests 1000000;
                location / {{
                    proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_buffering off;
                }}
            }}
        }}""")
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [binary, "-c", str(config), "-e", str(folder / "nginx-error.log")]
    with _running("nginx", port, _KEY, command, folder / "nginx.log") as peer:
        yield peer


@contextmanager
def cellule(upstream_port: int, folder: Path) -> Iterator[Peer]:
    """The pool as it ships: keys, queue, ledger, metrics and log all on. The upstream is a worker of it."""
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700)
    settings = Settings(state_dir=folder, port=free_port(), metrics_port=free_port(), host_simulated=True)
    box = start_box(settings)
    worker = ScriptedWorker(settings, "bench", 1, model="mock", slots=4096, port=upstream_port)
    try:
        peer = Peer("cellule", settings.port, box.key.secret, psutil.Process(box.process.pid))
        wait_until(lambda: _answers(peer), within_seconds=20, what="the pool answers")
        yield peer
    finally:
        worker.fall_silent()
        box.stop()


@contextmanager
def litellm(upstream_port: int, folder: Path) -> Iterator[Peer]:
    """LiteLLM's proxy with one master key and no database, in an environment of its own.

    Metrics are on, as the pool's are. Its log stays at ERROR, as its makers advise for production, which
    spares it the line a request that the pool writes.
    """
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(f"""
model_list:
  - model_name: mock
    litellm_params:
      model: openai/mock
      api_base: http://127.0.0.1:{upstream_port}/v1
      api_key: none
litellm_settings:
  telemetry: false
  callbacks: [prometheus]
general_settings:
  master_key: {_KEY}
""")
    command = [str(_litellm_environment() / "bin" / "litellm"), "--config", str(config), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--num_workers", "1"]
    variables = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "DISABLE_ADMIN_UI": "True"}
    with _running("litellm", port, _KEY, command, folder / "litellm.log", **variables) as peer:
        yield peer


def _litellm_environment() -> Path:
    """Its virtual environment in the cache, made anew when what it consists of changes."""
    folder = CACHE / "bench-litellm"
    made_of, wanted = folder / "made-of", " ".join(_LITELLM)
    if not made_of.exists() or made_of.read_text() != wanted:
        print(f"installing {wanted} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *_LITELLM], check=True)
        made_of.write_text(wanted)
    return folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cellule-bench-") as name:
        yield Path(name)
