"""What an engine process is told at its start: which model, by which engine, on what, how many at once.

Imports no engine, so that a process loads only the one that it runs.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from appliance.hardware.profile import EngineName, Setting

__all__ = ["TOKENS_HEADER", "EngineOptions", "Kind", "Setting"]

TOKENS_HEADER = b"x-cellule-tokens"
"""Tokens in and out of an answer whose body does not tell them as text models do: b"1500 42"."""


class Kind(StrEnum):
    """What a model is for, which decides the paths that answer."""

    TEXT = "text"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    IMAGES = "images"


@dataclass(frozen=True)
class EngineOptions:
    """What the command line decides; 0 means: chosen by model and machine."""

    model_file: Path
    """A GGUF file, or the folder of an OpenVINO model."""
    name: str
    """The model's name in the API."""
    engine: EngineName = EngineName.LLAMA_CPP
    kind: Kind = Kind.TEXT
    device: str = "CPU"
    """As OpenVINO names it: CPU, GPU, NPU; or llama.cpp's backend: CPU, cuda, rocm, vulkan …"""
    settings: dict[str, Setting] = field(default_factory=dict)
    """Of that engine's own, as a hwprofile gives them."""
    slots: int = 8
    context_tokens: int = 0
    """Of one sequence."""
    kv_tokens: int = 0
    """Of all sequences."""
    threads: int = 0
    waiting: int = 64
    prompt_tokens: int = 0
    """A longer prompt is refused; 0: as the context allows."""
