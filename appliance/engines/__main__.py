"""python -m appliance.engines --model FILE --name NAME --listen unix:PATH|HOST:PORT

Listens at once and answers 503 until the model is loaded and made its first token. Ends with a status
other than 0 when the model can't be used, or when the engine thread dies or hangs; a supervisor then starts
it anew. How it is asked to end is told in `endings`.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
import uvloop

from appliance.engines.endings import (
    ENGINE_THREAD_DIED_STATUS,
    FINISH_SIGNAL,
    FINISH_WITHIN_SECONDS,
    end_with,
)
from appliance.engines.http import EngineApp
from appliance.engines.loading import load
from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions, Kind
from appliance.engines.stuck import until_stuck
from appliance.hardware.profile import MOST_PARALLEL, EngineName, Setting
from appliance.watchdog import watchdog_of_this_process

_log = logging.getLogger("appliance.engines")


def main() -> NoReturn:
    options, listen = read_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = EngineApp(EngineMetrics())
    config = uvicorn.Config(
        app,
        **listen,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve(app, options, _Server(config, app)))
        logging.shutdown()
        # within the block, whose end would wait for a thread that still loads a model
        os._exit(status)


class _Server(uvicorn.Server):
    """Being asked to end is a good end: uvicorn's own would raise the signal again and end with it."""

    def __init__(self, config: uvicorn.Config, app: EngineApp) -> None:
        super().__init__(config)
        self._app = app
        self._finishing: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        loop.add_signal_handler(FINISH_SIGNAL, self._finish)
        yield

    def _finish(self) -> None:
        if self._finishing is None:
            _log.info("finishing what is being answered, then ending")
            self._finishing = asyncio.create_task(self._finish_and_exit())

    async def _finish_and_exit(self) -> None:
        await self._app.finish(FINISH_WITHIN_SECONDS)
        self.should_exit = True


def read_arguments(words: Sequence[str] | None = None) -> tuple[EngineOptions, dict[str, Any]]:
    """What to serve, and where uvicorn listens; `words`: None for the process's own."""
    parser = argparse.ArgumentParser(prog="python -m appliance.engines", description="Serve one model.")
    parser.add_argument(
        "--model", type=Path, help="GGUF file, or folder of an OpenVINO model; none for an adopted server"
    )
    parser.add_argument("--name", required=True, help="the model's name in the API")
    parser.add_argument("--listen", required=True, type=_listen_address, help="unix:PATH or HOST:PORT")
    parser.add_argument("--engine", type=EngineName, default=EngineName.LLAMA_CPP, choices=list(EngineName))
    parser.add_argument(
        "--kind", type=Kind, default=Kind.TEXT, choices=list(Kind), help="what the model is for"
    )
    parser.add_argument(
        "--device", default="CPU", help="of OpenVINO: CPU, GPU, NPU; of llama.cpp: CPU, cuda, rocm, vulkan …"
    )
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="of the engine's own",
    )
    parser.add_argument("--slots", type=int, default=8, help="sequences that run at once")
    parser.add_argument(
        "--context-tokens", type=int, default=0, help="of one sequence; 0: as the model, at most 8192"
    )
    parser.add_argument("--kv-tokens", type=int, default=0, help="of all sequences; 0: what memory allows")
    parser.add_argument("--threads", type=int, default=0, help="0: one per physical core")
    parser.add_argument("--waiting", type=int, default=64, help="requests that may wait for a slot")
    parser.add_argument(
        "--prompt-tokens", type=int, default=0, help="a longer prompt is refused; 0: no limit"
    )
    parser.add_argument(
        "--parent", type=int, metavar="PID", help="end when this process, our parent, has ended"
    )
    given = parser.parse_args(words)
    if given.parent:
        end_with(given.parent, signal.SIGTERM)
    if given.model is None and given.engine is not EngineName.ADOPTED:
        parser.error("--model is missing")
    if not 1 <= given.slots <= MOST_PARALLEL:
        parser.error(f"--slots must be 1 to {MOST_PARALLEL}")
    options = EngineOptions(
        model_file=given.model or Path(),
        name=given.name,
        engine=given.engine,
        kind=given.kind,
        device=given.device,
        settings=dict(given.setting),
        slots=given.slots,
        context_tokens=given.context_tokens,
        kv_tokens=given.kv_tokens,
        threads=given.threads,
        waiting=given.waiting,
        prompt_tokens=given.prompt_tokens,
    )
    return options, given.listen


def _setting(text: str) -> tuple[str, Setting]:
    """NAME=VALUE, the value as JSON writes numbers and truth, else as text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        read = value
    return name, read if isinstance(read, str | int | float | bool) else value


def _listen_address(text: str) -> dict[str, Any]:
    if text.startswith("unix:"):
        return {"uds": text.removeprefix("unix:")}
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("must be unix:PATH or HOST:PORT")
    return {"host": host.strip("[]"), "port": int(port)}


async def _serve(app: EngineApp, options: EngineOptions, server: uvicorn.Server) -> int:
    loading = asyncio.create_task(_load(app, options))
    serving = asyncio.create_task(server.serve())
    await asyncio.wait((loading, serving), return_when=asyncio.FIRST_COMPLETED)
    if loading.done() and loading.exception():
        _log.critical("%s", loading.exception())
        server.should_exit = True
        await serving
        return 1
    beating = asyncio.create_task(watchdog_of_this_process().beat(lambda: _lives(app)))
    watching = asyncio.create_task(until_stuck(lambda: app.engine))
    await asyncio.wait((serving, watching), return_when=asyncio.FIRST_COMPLETED)
    beating.cancel()
    if not serving.done():
        _log.critical("It made no step any more, and ended itself.")
        return ENGINE_THREAD_DIED_STATUS
    serving.result()
    return 0


def _lives(app: EngineApp) -> bool:
    """Whether the engine thread makes steps; that the event loop turns is proven by asking."""
    return app.engine is not None and app.engine.is_alive


async def _load(app: EngineApp, options: EngineOptions) -> None:
    engine = await asyncio.to_thread(load, options, app.metrics)
    app.engine = engine
    await engine.warm_up()
    if engine.ready:
        health = engine.health()
        _log.info(
            "ready: %s on %s with %d slots of %d tokens",
            engine.name,
            ", ".join(health.get("device_names", ())) or health.get("device", options.engine),
            health["slots"],
            health["context_tokens"],
        )


if __name__ == "__main__":
    main()
