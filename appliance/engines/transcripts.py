"""What was heard, in the five shapes that the OpenAI client may ask for. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from appliance.engines.kinds_contract import TranscriptionRequest


@dataclass(frozen=True)
class Segment:
    """Words that belong together, and when they were said (seconds from the beginning)."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """`tokens_in` counts what the model heard: 50 a second, as its encoder makes them."""

    text: str
    language: str
    duration_seconds: float
    segments: Sequence[Segment]
    tokens_in: int
    tokens_out: int


JSON = b"application/json"
_PLAIN = b"text/plain; charset=utf-8"


def written(transcript: Transcript, request: TranscriptionRequest) -> tuple[bytes, object]:
    """(content type, body): bytes as they are, everything else as JSON."""
    match request.response_format:
        case "text":
            return _PLAIN, f"{transcript.text.strip()}\n".encode()
        case "srt":
            return _PLAIN, _srt(transcript.segments).encode()
        case "vtt":
            return b"text/vtt; charset=utf-8", _vtt(transcript.segments).encode()
        case "verbose_json":
            return JSON, _verbose(transcript, request)
        case "json":
            return JSON, {"text": transcript.text.strip(), "usage": _usage(transcript)}


def needs_times(request: TranscriptionRequest) -> bool:
    """Whether the shape shows when something was said."""
    return request.response_format in ("verbose_json", "srt", "vtt")


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {
        "type": "tokens",
        "input_tokens": transcript.tokens_in,
        "output_tokens": transcript.tokens_out,
        "total_tokens": transcript.tokens_in + transcript.tokens_out,
    }


def _verbose(transcript: Transcript, request: TranscriptionRequest) -> dict[str, Any]:
    """As OpenAI's; probabilities that the pipeline doesn't tell are left out rather than invented."""
    segments = [
        {
            "id": number,
            "start": round(segment.start, 2),
            "end": round(segment.end, 2),
            "text": segment.text,
            "temperature": request.temperature,
            "compression_ratio": round(_compression(segment.text), 3),
        }
        for number, segment in enumerate(transcript.segments)
    ]
    return {
        "task": "transcribe",
        "language": transcript.language,
        "duration": round(transcript.duration_seconds, 3),
        "text": transcript.text.strip(),
        "segments": segments,
        "usage": {"type": "duration", "seconds": round(transcript.duration_seconds)},
    }


def _compression(text: str) -> float:
    """How much the text repeats itself: above about 2.4 a model mostly stammers."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 1.0


def _srt(segments: Sequence[Segment]) -> str:
    return "".join(
        f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{_line(segment.text)}\n\n"
        for number, segment in enumerate(segments, 1)
    )


def _vtt(segments: Sequence[Segment]) -> str:
    cues = (
        f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{_line(segment.text)}\n\n"
        for segment in segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _line(text: str) -> str:
    """A cue ends at an empty line, and in WebVTT an arrow would begin another."""
    return " ".join(text.split()).replace("-->", "→")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
