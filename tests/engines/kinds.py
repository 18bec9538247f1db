"""An engine process for each kind beside text, with the tiny models; and sounds to hear."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile
from numpy.typing import NDArray

from appliance.engines.options import Kind
from tests.engines.serving import RunningEngine, engine_process
from tests.models.tiny import tiny_openvino


@contextmanager
def openvino_engine(kind: Kind, *arguments: str) -> Iterator[RunningEngine]:
    """The engine named tiny-KIND, ready."""
    given = ("--engine", "openvino", "--kind", kind.value, *arguments)
    with engine_process(tiny_openvino(kind), *given, name=f"tiny-{kind}") as engine:
        yield engine


def tone(seconds: float, rate_hz: int = 16_000, channels: int = 1) -> NDArray[np.float32]:
    """A tone that rises, the same in each channel."""
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    mono = 0.3 * np.sin(2 * np.pi * (200 + 100 * at) * at)
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


def sound_file(
    seconds: float, file_format: str = "WAV", *, rate_hz: int = 16_000, channels: int = 1
) -> bytes:
    """That tone as a file: WAV, FLAC, OGG (vorbis) or MP3."""
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, rate_hz, channels), rate_hz, format=file_format)
    return file.getvalue()
