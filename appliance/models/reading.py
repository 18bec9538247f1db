"""From a model's files, wherever they lie, to its format and its facts; what is no model is refused.

Nothing of a file's content is run or loaded: heads are read, sizes compared.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from appliance.models.bundle import ModelFormat
from appliance.models.facts import ModelFacts
from appliance.models.gguf_facts import gguf_facts
from appliance.models.gguf_header import ModelFileUnusable, read_gguf_header
from appliance.models.openvino_facts import openvino_facts


def read_facts(files: Mapping[str, Path]) -> ModelFacts:
    """`files` by their paths inside the model's folder. Raises ModelFileUnusable with a sentence."""
    try:
        match format_of(files):
            case ModelFormat.GGUF:
                weights = sorted(name for name in files if name.endswith(".gguf"))
                return gguf_facts([read_gguf_header(files[name]) for name in weights])
            case ModelFormat.OPENVINO:
                return openvino_facts(files)
    except OSError as error:
        raise ModelFileUnusable(f"The model can't be read: {error.strerror or error}.") from error


def must_convert(names: Collection[str]) -> bool:
    """Whether these files are a model that nothing here runs before it is converted."""
    runs = any(name.endswith((".gguf", ".xml")) for name in names)
    return not runs and any(name.endswith(".safetensors") for name in names)


def format_of(names: Collection[str]) -> ModelFormat:
    """By the files' names. Raises ModelFileUnusable."""
    if "openvino_language_model.xml" in names:
        # as exports for OpenVINO GenAI's VLMPipeline name it, which our engine has no use for
        raise ModelFileUnusable(
            "An OpenVINO model that also looks at pictures can't be run here.",
            next_step="Get it as GGUF, which reads text alone, or choose another model.",
        )
    if any(name.endswith(".gguf") for name in names):
        return ModelFormat.GGUF
    if any(name.endswith("openvino_model.xml") or name.startswith("openvino_") for name in names):
        return ModelFormat.OPENVINO
    if any(name.endswith(".safetensors") for name in names):
        raise ModelFileUnusable(
            "Safetensors can't be run here as they are.",
            next_step="Get the model as GGUF, or convert it to OpenVINO first.",
        )
    raise ModelFileUnusable(
        "There is no model among the files.",
        next_step="It must be a GGUF file or the folder of an OpenVINO model.",
    )
