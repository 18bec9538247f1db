"""OpenVINO and its GenAI library, loaded without the part that reports to its maker.

Whatever uses OpenVINO takes `openvino` and `genai` from here. The package openvino-telemetry comes with
OpenVINO and would call a server on the internet; it is hidden before the import, and OpenVINO then takes a
stand-in of its own that does nothing.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance.engines.served import ModelUnusable

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it fails from now on

import openvino  # noqa: E402
import openvino_genai as genai  # noqa: E402

__all__ = ["Pipeline", "genai", "openvino", "refusing_what_openvino_refuses"]

Pipeline = Any
"""One of GenAI's pipelines, which have no common type."""

_NOISE = re.compile(r"^(Exception from |Check '|While validating|\[\d\d:\d\d)")


@contextmanager
def refusing_what_openvino_refuses(what: str) -> Iterator[None]:
    """An error of OpenVINO inside becomes ModelUnusable; `what` begins the sentence: "X can't be loaded"."""
    try:
        yield
    except RuntimeError as error:
        raise ModelUnusable(f"{what}: {_reason(str(error))}") from error


def _reason(text: str) -> str:
    """The line that says why: OpenVINO puts the places in its sources around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not _NOISE.match(line)] or lines or ["no reason given"]
    return telling[0][:300].rstrip(".") + "."
