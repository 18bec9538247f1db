"""OpenVINO's text engine, loaded: on CPU and GPU many answers at once, on an NPU one after the other.

What GenAI can't give is refused by the parameter's name: likeliest tokens beside the chosen one, a bias on
tokens, a caller's own grammar (a wrong one would stop every sequence in the batch), and on an NPU all
log-probabilities.
"""

from typing import Any

import psutil

from appliance.engines.contract import ChatRequest, SamplingFields
from appliance.engines.metrics import EngineMetrics
from appliance.engines.openvino.batching import BatchingRunner
from appliance.engines.openvino.computing import Computing
from appliance.engines.openvino.conversion import ir_of_gguf
from appliance.engines.openvino.devices import DeviceSettings, device_settings, is_npu
from appliance.engines.openvino.files import ModelFiles, read_model_files
from appliance.engines.openvino.library import Pipeline, genai, refusing_what_openvino_refuses
from appliance.engines.openvino.one_by_one import OneByOneRunner
from appliance.engines.openvino.queue import QueuedRunner
from appliance.engines.openvino.steps import Start
from appliance.engines.openvino.vocabulary import TokenizerVocabulary
from appliance.engines.options import EngineOptions
from appliance.engines.served import ParameterNotOffered, PromptTooShortHere
from appliance.engines.text_engine import DEFAULT_CONTEXT_TOKENS, TextEngine
from appliance.hardware.profile import EngineName
from appliance.models.bundle import ModelFormat

BLOCK_TOKENS = {"CPU": 32, "GPU": 16}
"""Of one block of GenAI's KV cache."""
NPU_PROMPT_TOKENS = 1024
NPU_ANSWER_TOKENS = 512
LEAST_NPU_PROMPT_TOKENS = 2
"""OpenVINO takes one token alone for the next one of the sequence before, which was somebody else's."""
_KV_SHARE_OF_FREE_MEMORY = 0.4


class OpenVinoEngine(TextEngine):
    """Everything loaded; `ready` once a token was made. Constructing takes seconds: not on an event loop.

    Raises ModelUnusable, SettingUnknown.
    """

    engine = EngineName.OPENVINO

    def __init__(self, options: EngineOptions, metrics: EngineMetrics) -> None:
        files = read_model_files(options.model_file)
        settings = device_settings(options)
        self.sha256 = files.sha256()
        self._on_npu = is_npu(options.device)
        path = files.path
        if self._on_npu and files.format is ModelFormat.GGUF:
            path = ir_of_gguf(files)
        computing = None if self._on_npu else self._computing(options, files, settings)
        with refusing_what_openvino_refuses(f"The tokenizer of {path} can't be used"):
            tokenizer = genai.Tokenizer(path)
        vocabulary = TokenizerVocabulary(tokenizer, files, frozenset())
        super().__init__(options, metrics, vocabulary)
        if computing:
            computing.wait_until_loaded()
            self.runner: QueuedRunner = BatchingRunner(
                computing,
                vocabulary,
                metrics,
                slots=options.slots,
                waiting=options.waiting,
                kv_tokens=self._kv_tokens,
            )
        else:
            with refusing_what_openvino_refuses(f"OpenVINO can't load {path} on {options.device}"):
                self.runner = self._npu_runner(options, files, settings, vocabulary, path)
        self.slots = self.runner.slots

    def refuse_what_is_not_offered(self, request: SamplingFields, top_logprobs: int | None) -> None:
        if request.logit_bias:
            raise _not_offered("logit_bias", "a bias on tokens")
        if request.grammar is not None:
            raise _not_offered("grammar", "a grammar of the caller's")
        if top_logprobs:
            # chat names the number in a parameter of its own
            param = "top_logprobs" if isinstance(request, ChatRequest) else "logprobs"
            raise _not_offered(param, "the likeliest tokens beside the chosen one")
        if top_logprobs is not None and self._on_npu:
            raise _not_offered("logprobs", "log-probabilities")

    def check_prompt(self, prompt: list[int], param: str) -> None:
        super().check_prompt(prompt, param)
        if self._on_npu and len(prompt) < LEAST_NPU_PROMPT_TOKENS:
            raise PromptTooShortHere(
                f"An NPU takes prompts of {LEAST_NPU_PROMPT_TOKENS} tokens or more.",
                param=param,
                next_step="Lengthen it, or ask a node without an NPU.",
            )

    def _computing(self, options: EngineOptions, files: ModelFiles, settings: DeviceSettings) -> Computing:
        """The process that loads the model, while this one sees to its own part."""
        context = min(options.context_tokens or DEFAULT_CONTEXT_TOKENS, files.context_tokens or 2**31)
        affordable = int(
            psutil.virtual_memory().available * _KV_SHARE_OF_FREE_MEMORY / max(1, files.kv_bytes_per_token)
        )
        self._kv_tokens = options.kv_tokens or max(context, min(options.slots * context, affordable))
        self.context_tokens = min(context, self._kv_tokens)
        block = BLOCK_TOKENS.get(options.device.partition(".")[0], 16)
        scheduler = {
            "enable_prefix_caching": True,
            "max_num_seqs": options.slots,
            # the last block of each sequence is not full
            "num_kv_blocks": -(-self._kv_tokens // block) + options.slots,
            **settings.scheduler,
        }
        return Computing(Start(files.path, settings.device, settings.properties, scheduler))

    def _npu_runner(
        self,
        options: EngineOptions,
        files: ModelFiles,
        settings: DeviceSettings,
        vocabulary: TokenizerVocabulary,
        path: Any,  # noqa: ANN401
    ) -> QueuedRunner:
        properties = settings.properties
        prompt = options.prompt_tokens or int(properties.get("MAX_PROMPT_LEN", NPU_PROMPT_TOKENS))
        most = options.context_tokens or prompt + int(properties.get("MIN_RESPONSE_LEN", NPU_ANSWER_TOKENS))
        self.context_tokens = min(most, files.context_tokens or most)
        self.prompt_tokens = min(prompt, self.context_tokens - 1)
        answer = self.context_tokens - self.prompt_tokens
        properties = {**properties, "MAX_PROMPT_LEN": self.prompt_tokens, "MIN_RESPONSE_LEN": answer}
        pipeline: Pipeline = genai.LLMPipeline(path, vocabulary.tokenizer, settings.device, **properties)
        return OneByOneRunner(pipeline, vocabulary, self.metrics, waiting=options.waiting)


def _not_offered(param: str, what: str) -> ParameterNotOffered:
    return ParameterNotOffered(
        f"This engine does not offer {what}.",
        param=param,
        next_step=f"Leave {param} out, or ask a model that llama.cpp serves.",
    )
