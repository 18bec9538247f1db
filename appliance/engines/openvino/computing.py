"""The process that computes, as the server sees it: GenAI's continuous batching, apart from the network.

GenAI's `step` keeps Python's lock until it ends, which takes seconds while a long prompt is read on a
processor. In the server's own process nothing else could happen meanwhile: no health, no new request, no
token on its way out. So the pipeline has a process of its own (`stepping`), and a pipe to the server
(`steps`); it ends when the pipe does, and in the middle of a step with the server's process: who starts the
next engine must find this one's memory free.
"""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from multiprocessing.connection import Pipe

from appliance.engines.endings import KILLED, ending_in_words
from appliance.engines.openvino.steps import Failed, Start
from appliance.engines.served import ModelUnusable


class Computing:
    """The process, as the server sees it; it begins to load at once."""

    def __init__(self, start: Start) -> None:
        self.connection, theirs = Pipe()
        self._process = _started(theirs.fileno())
        theirs.close()
        self.connection.send(start)

    def wait_until_loaded(self) -> None:
        """Takes as long as the model's loading. Raises ModelUnusable."""
        try:
            said = self.connection.recv()
        except EOFError:
            raise ModelUnusable(f"OpenVINO did not load the model: {self.how_it_ended()}.") from None
        if isinstance(said, Failed):
            raise ModelUnusable(said.why)

    def how_it_ended(self) -> str:
        """Once the pipe has ended."""
        status = self._process.wait()
        return KILLED if status == -signal.SIGKILL else f"it ended with {ending_in_words(status)}"


def _started(pipe: int) -> subprocess.Popen[bytes]:
    """The process, by a thread that lasts as long as it: to the kernel its parent is the thread."""
    command = [sys.executable, "-m", "appliance.engines.openvino.stepping", str(pipe), str(os.getpid())]
    started = Future[subprocess.Popen[bytes]]()

    def start() -> None:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[pipe])
        except OSError as error:
            started.set_exception(error)
        else:
            started.set_result(process)
            process.wait()

    threading.Thread(target=start, daemon=True).start()
    return started.result()
