"""POST /v1/images/generations by OpenVINO's Text2ImagePipeline: a prompt in, PNG images out.

Images of one request are made one after the other, so that memory holds one. After each step of removing
noise a client that left ends the work.
"""

import asyncio
import base64
import functools
import secrets
import time

import numpy as np
from numpy.typing import NDArray

from appliance.engines.exchange import ClientLeft, Exchange
from appliance.engines.kinds_contract import ImageRequest
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.files import folder_digest
from appliance.engines.openvino.folder import (
    TOKENIZER,
    ModelFolder,
    TokenCounter,
    check_length,
    loaded,
    settings_without_scheduler,
)
from appliance.engines.openvino.library import genai
from appliance.engines.options import EngineOptions
from appliance.engines.pipeline import PipelineServed, tokens_header
from appliance.engines.png import png
from appliance.engines.turns import Turn

_PATCH_PIXELS = 16
"""An image counts as so many tokens as it has squares of this side."""
_FIRST_SIDE_PIXELS = 64
_SEEDS = 2**63
"""The pipeline takes them as signed numbers of 64 bits, and none below 0."""
Pixels = NDArray[np.uint8]


class OpenVinoImages(PipelineServed):
    """One image at a time."""

    path = "/v1/images/generations"
    stalled_seconds = 900.0

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        super().__init__(options, metrics)
        folder = ModelFolder(
            options.model_file,
            ("model_index.json", "vae_decoder/openvino_model.xml", f"tokenizer/{TOKENIZER}"),
        )
        self.sha256 = folder_digest(folder.path)
        settings = settings_without_scheduler(options)
        self._pipeline = loaded(
            lambda: genai.Text2ImagePipeline(folder.path, settings.device, **settings.properties), folder
        )
        tokenizers = [ModelFolder(each, (TOKENIZER,)) for each in sorted(folder.path.glob("tokenizer*"))]
        # where there are several, each reads the prompt; the one that takes most keeps all of it
        self._tokenizer = max(tokenizers, key=lambda each: each.most_tokens)
        self._counter = TokenCounter(self._tokenizer)

    def first_work(self, turn: Turn) -> None:
        side = _FIRST_SIDE_PIXELS
        self._draw("Bonjour", (side, side), 1, 0, turn)

    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        request = await exchange.body_as(ImageRequest)
        self.check_model_name(request.model)
        images, tokens_in = await self.compute(exchange, functools.partial(self._work, request))
        height, width, _ = images[0].shape
        tokens_out = len(images) * (width // _PATCH_PIXELS) * (height // _PATCH_PIXELS)
        files = [await asyncio.to_thread(png, image) for image in images]
        answer = {
            "created": int(time.time()),
            "data": [{"b64_json": base64.b64encode(file).decode()} for file in files],
            "output_format": "png",
            "size": f"{width}x{height}",
            "usage": {
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        }
        await exchange.answer(200, answer, tokens_header(tokens_in, tokens_out))
        return tokens_in, tokens_out

    def _work(self, request: ImageRequest, turn: Turn) -> tuple[list[Pixels], int]:
        [tokens] = self._counter.count([request.prompt])
        check_length(tokens, self._tokenizer.most_tokens, "The prompt", "prompt")
        first = secrets.randbits(32) if request.seed is None else request.seed
        seeds = [(first + number) % _SEEDS for number in range(request.n)]
        images = [
            self._draw(request.prompt, request.width_and_height, request.steps, seed, turn) for seed in seeds
        ]
        return images, tokens

    def _draw(
        self, prompt: str, size: tuple[int, int] | None, steps: int | None, seed: int, turn: Turn
    ) -> Pixels:
        given = {"width": size[0], "height": size[1]} if size else {}
        if steps is not None:
            given["num_inference_steps"] = steps
        turn.check()
        made = self._pipeline.generate(
            prompt, rng_seed=seed, callback=lambda _step, _steps, _latent: turn.left, **given
        )
        if turn.left:
            raise ClientLeft
        return np.array(made.data[0], np.uint8)
