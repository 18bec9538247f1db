"""A real llama-server: built once from the engine's own sources, then taken from the cache.

The engine's peer in the benchmark, and the server that the tests adopt.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import free_port
from tests.waiting import wait_until

CACHE = Path(os.environ.get("CELLULE_CACHE", Path.home() / ".cache" / "cellule"))
HERE = Path(__file__).parent


@dataclass(frozen=True)
class LlamaServer:
    """It answers on this port of loopback."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """At once, as a crash would."""
        self.process.kill()
        self.process.wait(timeout=20)


@contextmanager
def llama_server(model: Path, *arguments: str, port: int = 0) -> Iterator[LlamaServer]:
    """llama-server with `model`, ready; all else as it comes. Stopped at the end, if it still runs."""
    folder = built_llama_server()
    port = port or free_port()
    command = [str(folder / "llama-server"), "-m", str(model), "--port", str(port), *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/health"
        wait_until(
            lambda: process.poll() is not None or _answers(url),
            within_seconds=60,
            what="llama-server is ready",
        )
        assert process.poll() is None, f"llama-server ended with {process.returncode}"
        yield LlamaServer(process, port)
    finally:
        process.terminate()
        process.wait(timeout=20)


def built_llama_server() -> Path:
    """The folder with the program and its libraries. Two test processes don't build it twice."""
    recipes = [HERE / "llama_server.sh", HERE.parents[1] / "hwprofiles" / "wheels" / "llama_cpp.sh"]
    digest = hashlib.sha256(b"".join(recipe.read_bytes() for recipe in recipes)).hexdigest()[:16]
    folder = CACHE / f"llama-server-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "llama-server").exists():
            print("building llama-server, once: about 2 minutes on 2 cores", file=sys.stderr, flush=True)
            unfinished = folder.with_suffix(".new")
            subprocess.run([recipes[0], unfinished], check=True, stdout=subprocess.DEVNULL)
            unfinished.rename(folder)
    return folder


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return bool(reply.status == 200)
