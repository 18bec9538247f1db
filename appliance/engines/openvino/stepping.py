"""python -m appliance.engines.openvino.stepping FD PARENT: loads one model and makes steps, told by a pipe.

What is said on the pipe, and why this is a process of its own, stands in `steps` and `computing`.
"""

import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import NoReturn

import numpy as np

from appliance.engines.endings import end_with
from appliance.engines.openvino.generation_config import generation_config
from appliance.engines.openvino.library import Pipeline, genai, openvino, reason
from appliance.engines.openvino.steps import Add, Failed, Given, Ready, Start, Stepped, Stop


def main() -> None:
    # the server ends this: a service that is stopped signals all its processes
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with(int(sys.argv[2]), signal.SIGKILL)
    connection = Connection(int(sys.argv[1]))
    try:
        _serve(connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the server is gone


def _serve(connection: Connection) -> None:
    start: Start = connection.recv()
    try:
        pipeline = _load(start)
    except Exception as error:  # of whatever kind: its C++ errors come as several of Python's
        connection.send(Failed(f"OpenVINO can't load {start.path} on {start.device}: {reason(error)}"))
        return
    connection.send(Ready())
    try:
        _step_on(connection, pipeline)
    except (EOFError, OSError):
        raise  # of the pipe
    except Exception as error:
        connection.send(Failed(f"OpenVINO failed while it computed: {reason(error)}"))
        while True:  # until the server, which has a word to say of it, ends both
            connection.recv()


def _step_on(connection: Connection, pipeline: Pipeline) -> NoReturn:
    running: dict[int, Pipeline] = {}
    while True:
        while not running or connection.poll():
            _obey(connection.recv(), pipeline, running)
        began = time.perf_counter()
        pipeline.step()
        seconds = time.perf_counter() - began
        given = tuple(filter(None, (_given(number, handle) for number, handle in running.items())))
        for each in given:
            if each.is_over:
                del running[each.number]
        connection.send(Stepped(given, seconds, pipeline.get_metrics().cache_usage / 100))


def _load(start: Start) -> Pipeline:
    """The genai.ContinuousBatchingPipeline. Raises whatever OpenVINO does."""
    scheduler = genai.SchedulerConfig()
    for name, value in start.scheduler.items():
        setattr(scheduler, name, value)
    return genai.ContinuousBatchingPipeline(
        start.path, genai.Tokenizer(start.path), scheduler, start.device, **start.properties
    )


def _obey(order: Add | Stop, pipeline: Pipeline, running: dict[int, Pipeline]) -> None:
    match order:
        case Add(number, request, end_tokens, stop_token):
            prompt = openvino.Tensor(np.array([request.prompt], np.int64))
            config = generation_config(request, end_tokens, stop_token)
            running[number] = pipeline.add_request(number, prompt, config)
        case Stop(number):
            if handle := running.pop(number, None):
                handle.stop()


def _given(number: int, handle: Pipeline) -> Given | None:
    """None where the step gave it nothing: its prompt is still being read."""
    tokens: list[int] = []
    logprobs: list[float] = []
    if handle.can_read():
        for output in handle.read().values():
            tokens += output.generated_ids
            logprobs += output.generated_log_probs
    is_over = handle.get_status() != genai.GenerationStatus.RUNNING
    return Given(number, tuple(tokens), tuple(logprobs), is_over) if tokens or is_over else None


if __name__ == "__main__":
    main()
