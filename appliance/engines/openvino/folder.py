"""What a folder with an OpenVINO model says of itself, and the tokenizer in it.

Only what the kinds beside text need: how many tokens fit, how vectors are pooled. A folder without a
tokenizer, or without the parts that its kind needs, is refused before anything is loaded.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from appliance.engines.openvino.devices import (
    SCHEDULER_SETTINGS,
    DeviceSettings,
    device_settings,
)
from appliance.engines.openvino.library import Pipeline, genai, refusing_what_openvino_refuses
from appliance.engines.openvino.padding import tokenized_together
from appliance.engines.options import EngineOptions
from appliance.engines.served import ContextLengthExceeded, ModelUnusable, SettingUnknown

TOKENIZER = "openvino_tokenizer.xml"
_POSITIONS_BEFORE_THE_FIRST = {"xlm-roberta": 2, "roberta": 2, "camembert": 2, "mpnet": 2}
"""These count their positions from behind the padding token (transformers, create_position_ids)."""


class ModelFolder:
    """Raises ModelUnusable where the folder isn't one, or lacks one of `needed` (paths in it)."""

    def __init__(self, path: Path, needed: tuple[str, ...]) -> None:
        self.path = path
        missing = [name for name in needed if not (path / name).is_file()]
        if not path.is_dir() or missing:
            lacking = f"has no {', '.join(missing)}" if path.is_dir() else "is not there"
            raise ModelUnusable(
                f"The model's folder {path} {lacking}.",
                next_step="It must be a whole OpenVINO model: ./build.sh convert makes one.",
            )

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; {} where it isn't there. Raises ModelUnusable."""
        file = self.path / name
        if not file.is_file():
            return {}
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise ModelUnusable(f"{file} can't be read: {error}.") from error
        return content if isinstance(content, dict) else {}

    @cached_property
    def most_tokens(self) -> int:
        """Of one input, by the strictest of the model, its tokenizer and its makers."""
        config = self.read("config.json")
        positions = int(config.get("max_position_embeddings") or 512)
        positions -= _POSITIONS_BEFORE_THE_FIRST.get(str(config.get("model_type")), 0)
        makers = int(self.read("sentence_bert_config.json").get("max_seq_length") or positions)
        tokenizer = min(float(self.read("tokenizer_config.json").get("model_max_length") or positions), 1e9)
        return min(positions, makers, int(tokenizer))


class TokenCounter:
    """Counts as the pipeline will tokenize; safe from several threads."""

    def __init__(self, folder: ModelFolder) -> None:
        self._tokenizer = loaded(lambda: genai.Tokenizer(folder.path), folder)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones included."""
        counts = [0] * len(texts)
        for together in tokenized_together([len(text.encode()) for text in texts]):
            mask = self._tokenizer.encode([texts[place] for place in together]).attention_mask.data
            for place, number in zip(together, mask.sum(axis=1), strict=True):
                counts[place] = int(number)
        return counts


def loaded(load: Callable[[], Pipeline], folder: ModelFolder) -> Pipeline:
    """What `load` gives. Raises ModelUnusable."""
    with refusing_what_openvino_refuses(f"{folder.path} can't be loaded"):
        return load()


def settings_without_scheduler(options: EngineOptions, own: frozenset[str] = frozenset()) -> DeviceSettings:
    """Of a pipeline without a scheduler; `own` are the pipeline's. Raises ModelUnusable, SettingUnknown."""
    settings = {name: value for name, value in options.settings.items() if name not in own}
    for name in settings:
        if name in SCHEDULER_SETTINGS:
            raise SettingUnknown(f"Models for {options.kind} have no setting {name!r}.")
    return device_settings(replace(options, settings=settings))


def check_length(tokens: int, most: int, what: str, param: str) -> None:
    """Raises ContextLengthExceeded: nothing is ever cut off silently."""
    if tokens > most:
        raise ContextLengthExceeded(
            f"{what} has {tokens} tokens; {most} fit into this model at once.",
            param=param,
            next_step="Cut the text into parts.",
        )
