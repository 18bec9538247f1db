"""What may be asked of models that do not write text: rerank, transcription, images. Strict as `contract`.

Rerank is shaped as Cohere's, the other two as OpenAI's. A transcription arrives as a form (multipart), so
its numbers are text; everything else of it is as strict.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from appliance.engines.contract import Seed, Strict

MAX_DOCUMENTS = 1000
MAX_IMAGES = 4
LEAST_SIDE_PIXELS, MOST_SIDE_PIXELS, SIDE_STEP_PIXELS = 64, 2048, 8
MAX_STEPS = 100
AUDIO_LIMIT_BYTES = 25 * 1024 * 1024
"""Of the whole form, as OpenAI's limit for a file."""
FORM_EXTRA_BYTES = 64 * 1024
"""What a form may need beside its file."""
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class TextDocument(Strict):
    text: Annotated[str, StringConstraints(min_length=1)]


class RerankRequest(Strict):
    """POST /v1/rerank"""

    model: str
    query: Annotated[str, StringConstraints(min_length=1)]
    documents: list[Annotated[str, StringConstraints(min_length=1)] | TextDocument] = Field(
        min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True
    )
    top_n: int | None = Field(default=None, ge=1)
    """How many of the best are answered; left out: all."""
    return_documents: bool = False
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        return [one if isinstance(one, str) else one.text for one in self.documents]


def _offered_format(given: str) -> str:
    if given == "url":
        raise PydanticCustomError("unfit", "a URL is not offered: the image stays here; ask for b64_json")
    if given != "b64_json":
        raise PydanticCustomError("unfit", "must be b64_json")
    return given


def _size(given: str) -> str:
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", given)
    if given == "auto":
        return given
    if match is None:
        raise PydanticCustomError("unfit", "must be WIDTHxHEIGHT in pixels, or auto")
    for side in map(int, match.groups()):
        if not LEAST_SIDE_PIXELS <= side <= MOST_SIDE_PIXELS or side % SIDE_STEP_PIXELS:
            raise PydanticCustomError(
                "unfit",
                f"each side must be {LEAST_SIDE_PIXELS} to {MOST_SIDE_PIXELS} pixels, "
                f"in steps of {SIDE_STEP_PIXELS}",
            )
    return given


class ImageRequest(Strict):
    """POST /v1/images/generations"""

    model: str
    prompt: Prompt
    n: int = Field(default=1, ge=1, le=MAX_IMAGES)
    size: Annotated[str, AfterValidator(_size)] = "auto"
    """auto: as the model was trained for."""
    response_format: Annotated[str, AfterValidator(_offered_format)] = "b64_json"
    seed: Seed | None = None
    """The same seed, prompt, size and steps on the same machine make the same image."""
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    """Of removing noise; left out: as the model's folder says."""
    # values that ask for nothing
    output_format: Literal["png"] = "png"
    quality: Literal["auto", "standard"] = "auto"
    background: Literal["auto", "opaque"] = "auto"
    stream: Literal[False] = False
    user: str | None = None

    @property
    def width_and_height(self) -> tuple[int, int] | None:
        if self.size == "auto":
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height)


class TranscriptionRequest(BaseModel):
    """POST /v1/audio/transcriptions, multipart/form-data"""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    file: bytes = Field(min_length=1, json_schema_extra={"format": "binary"})
    """The sound: wav, flac, ogg (vorbis, opus), mp3, aiff …"""
    model: str
    language: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z]{2,3}$", to_lower=True)] | None = None
    """ISO 639-1; left out: the model listens for it."""
    prompt: Annotated[str, StringConstraints(max_length=4000)] | None = None
    """Names and spellings to expect, or what was said before; of a long one its end counts, as at OpenAI."""
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] = "json"
    temperature: float = Field(default=0, ge=0, le=1)
    """0: always the likeliest word."""
    timestamp_granularities: list[Literal["segment"]] = Field(default_factory=list, max_length=1)
    stream: Literal["false", "False", "0"] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> "TranscriptionRequest":
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise PydanticCustomError(
                "unfit",
                "timestamp_granularities needs response_format=verbose_json",
                {"param": "timestamp_granularities"},
            )
        return self
