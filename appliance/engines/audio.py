"""Any sound file that people send, as the samples that Whisper hears: 16 kHz, one channel, -1 to 1.

libsndfile reads it block by block (wav, flac, ogg with vorbis or opus, mp3, aiff), so a small file that
unpacks to days of silence is stopped at the limit and never held whole; soxr changes the rate.
"""

import io
from typing import ClassVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from appliance.errors import Refused

RATE_HZ = 16_000
LONGEST_SECONDS = 3600.0
SHORTEST_SECONDS = 0.1
MOST_CHANNELS = 16
RATES_HZ = (1_000, 384_000)
_BLOCK_FRAMES = 65_536

Samples = NDArray[np.float32]


class AudioUnreadable(Refused):
    code: ClassVar[str] = "audio_unreadable"


class AudioTooLong(Refused):
    code: ClassVar[str] = "audio_too_long"
    http_status: ClassVar[int] = 413


class AudioTooShort(Refused):
    code: ClassVar[str] = "audio_too_short"


def decode(data: bytes, longest_seconds: float = LONGEST_SECONDS) -> Samples:
    """The samples of a whole file. Raises AudioUnreadable, AudioTooLong, AudioTooShort."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = _resampled(file, longest_seconds)
    except (soundfile.LibsndfileError, ValueError, RuntimeError, TypeError) as error:
        reason = getattr(error, "error_string", "") or str(error)
        raise AudioUnreadable(
            f"The file is no sound that can be read: {str(reason).rstrip('. ')[:200]}.",
            param="file",
            next_step="Send wav, flac, ogg or mp3.",
        ) from error
    if len(samples) < SHORTEST_SECONDS * RATE_HZ:
        raise AudioTooShort(f"The sound is shorter than {SHORTEST_SECONDS:g} seconds.", param="file")
    if not np.isfinite(samples).all():
        raise AudioUnreadable("The file has samples that are no numbers.", param="file")
    return np.clip(samples, -1.0, 1.0)


def _resampled(file: soundfile.SoundFile, longest_seconds: float) -> Samples:
    if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1] or file.channels > MOST_CHANNELS:
        raise AudioUnreadable(
            f"The sound has {file.samplerate} Hz and {file.channels} channels.",
            param="file",
            next_step=f"Send at most {MOST_CHANNELS} channels of {RATES_HZ[0]} to {RATES_HZ[1]} Hz.",
        )
    stream = soxr.ResampleStream(file.samplerate, RATE_HZ, 1, dtype="float32", quality="HQ")
    blocks: list[Samples] = []
    frames = 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > longest_seconds * file.samplerate:
            raise AudioTooLong(
                f"The sound is longer than {longest_seconds:g} seconds.",
                param="file",
                next_step="Cut it into parts.",
            )
        blocks.append(stream.resample_chunk(np.ascontiguousarray(block.mean(axis=1)), last=False))
    blocks.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(blocks)
