"""POST /v1/audio/transcriptions by OpenVINO's WhisperPipeline: a sound file in, what was said out.

The file is decoded outside of the pipeline's turn. Whisper hears 30 s at a time; after each such window, and
after each token of a short sound, a client that left ends the work.
"""

import asyncio
import functools
from typing import Any

import numpy as np
from pydantic import ValidationError

from appliance.engines.audio import RATE_HZ, Samples, decode
from appliance.engines.exchange import ClientLeft, Exchange, invalid_parameter
from appliance.engines.kinds_contract import AUDIO_LIMIT_BYTES, FORM_EXTRA_BYTES, TranscriptionRequest
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.files import folder_digest
from appliance.engines.openvino.folder import TOKENIZER, ModelFolder, loaded, settings_without_scheduler
from appliance.engines.openvino.library import genai
from appliance.engines.options import EngineOptions
from appliance.engines.pipeline import PipelineServed, tokens_header
from appliance.engines.sampling_plan import LEAST_TEMPERATURE
from appliance.engines.transcription_form import read_transcription
from appliance.engines.transcripts import Segment, Transcript, needs_times, written
from appliance.engines.turns import Turn
from appliance.errors import Refused

_NEEDED = ("openvino_encoder_model.xml", "openvino_decoder_model.xml", "preprocessor_config.json", TOKENIZER)
_WINDOW_SECONDS = 30
_TOKENS_A_SECOND = 50


class LanguageUnknown(Refused):
    code = "language_unknown"


class OpenVinoTranscription(PipelineServed):
    """One sound at a time."""

    path = "/v1/audio/transcriptions"
    stalled_seconds = 600.0

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        super().__init__(options, metrics)
        folder = ModelFolder(options.model_file, _NEEDED)
        self.sha256 = folder_digest(folder.path)
        settings = settings_without_scheduler(options)
        self._pipeline = loaded(
            lambda: genai.WhisperPipeline(folder.path, settings.device, **settings.properties), folder
        )
        self._languages = {
            mark.strip("<|>") for mark in dict(self._pipeline.get_generation_config().lang_to_id)
        }

    def first_work(self, turn: Turn) -> None:
        request = TranscriptionRequest(file=b"-", model=self.name)
        self._hear(np.zeros(RATE_HZ, np.float32), request, turn, most_tokens=4)

    async def answer(self, exchange: Exchange) -> tuple[int, int]:
        body = await exchange.body(AUDIO_LIMIT_BYTES + FORM_EXTRA_BYTES)
        try:
            request = await asyncio.to_thread(read_transcription, exchange.content_type, body)
        except ValidationError as error:
            raise invalid_parameter(error) from error
        del body
        self.check_model_name(request.model)
        self._check_language(request.language)
        samples = await asyncio.to_thread(decode, request.file)
        heard = await self.compute(exchange, functools.partial(self._hear, samples, request))
        content_type, answer = written(heard, request)
        headers = tokens_header(heard.tokens_in, heard.tokens_out)
        await exchange.answer(200, answer, headers, content_type=content_type)
        return heard.tokens_in, heard.tokens_out

    def _check_language(self, language: str | None) -> None:
        if language is not None and language not in self._languages:
            raise LanguageUnknown(
                f"This model does not know the language {language!r}.",
                param="language",
                next_step=f"It knows: {', '.join(sorted(self._languages)) or 'one only, leave it out'}.",
            )

    def _hear(
        self, samples: Samples, request: TranscriptionRequest, turn: Turn, most_tokens: int = 0
    ) -> Transcript:
        turn.check()
        watcher = _Watcher(turn)
        said = self._pipeline.generate(
            samples, self._asked(request, most_tokens), watcher, return_timestamps=needs_times(request)
        )
        if turn.left:
            raise ClientLeft
        duration = len(samples) / RATE_HZ
        windows = -(-len(samples) // (_WINDOW_SECONDS * RATE_HZ))
        return Transcript(
            text=said.texts[0],
            language=said.language or request.language or "",
            duration_seconds=duration,
            segments=_segments(said.chunks or (), duration),
            tokens_in=windows * _WINDOW_SECONDS * _TOKENS_A_SECOND,
            tokens_out=said.perf_metrics.get_num_generated_tokens(),
        )

    def _asked(self, request: TranscriptionRequest, most_tokens: int) -> genai.WhisperGenerationConfig:
        config = self._pipeline.get_generation_config()
        if config.is_multilingual:
            config.task = "transcribe"
            if request.language:
                config.language = f"<|{request.language}|>"
        if request.prompt:
            config.initial_prompt = self._end_of(request.prompt, config.max_length // 2 - 1)
        if request.temperature >= LEAST_TEMPERATURE:
            config.do_sample = True
            config.temperature = request.temperature
        if most_tokens:
            config.max_new_tokens = most_tokens
        return config

    def _end_of(self, prompt: str, most_tokens: int) -> str:
        """As much as leaves room for an answer: half of what the decoder holds, as Whisper's makers cut it.

        https://github.com/openai/whisper/blob/main/whisper/decoding.py
        """
        tokenizer = self._pipeline.get_tokenizer()
        tokens = tokenizer.encode(prompt, add_special_tokens=False).input_ids.data[0].tolist()
        if len(tokens) <= most_tokens:
            return prompt
        kept: str = tokenizer.decode(tokens[-most_tokens:])
        return kept.lstrip("\ufffd")  # of a character that was cut in two


class _Watcher(genai.StreamerBase):  # type: ignore[misc]  # its types are not told
    """Asked by the pipeline whether to go on."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self._turn = turn

    def write(self, _tokens: object) -> Any:  # noqa: ANN401 the status is an enum without types
        left = self._turn.left
        return genai.StreamingStatus.CANCEL if left else genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Nothing is held back."""


def _segments(chunks: Any, duration: float) -> list[Segment]:  # noqa: ANN401 without types
    """A segment whose end the model did not say ends with the sound."""
    segments = []
    for chunk in chunks:
        start = min(max(0.0, chunk.start_ts), duration)
        end = chunk.end_ts if start <= chunk.end_ts <= duration else duration
        segments.append(Segment(start, end, chunk.text))
    return segments
