"""OpenVINO and its GenAI library, as the text engine uses them.

Its errors become sentences here: what it raises tells where in its sources it is before it says why.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openvino
import openvino_genai as genai

__all__ = ["Pipeline", "genai", "openvino", "reason", "refusing_what_openvino_refuses"]

Pipeline = Any
"""One of GenAI's pipelines, which have no common type."""

_NOISE = re.compile(r"^(Exception from |Check '|While validating|\[\d\d:\d\d)")


@contextmanager
def refusing_what_openvino_refuses(what: str) -> Iterator[None]:
    """An error of OpenVINO inside becomes ModelUnusable; `what` begins the sentence: "X can't be loaded"."""
    try:
        yield
    except RuntimeError as error:
        # the process that computes has no use for it, and starts sooner without
        from appliance.engines.served import ModelUnusable

        raise ModelUnusable(f"{what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The line that says why: OpenVINO puts the places in its sources around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not _NOISE.match(line)] or lines or ["no reason given"]
    return telling[0][:300].rstrip(".") + "."
