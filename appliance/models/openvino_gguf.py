"""Which GGUF files OpenVINO GenAI makes a network of, as far as that is safe to believe. Pure.

https://openvinotoolkit.github.io/openvino.genai/docs/guides/gguf. With OpenVINO 2026.4, Q8_0, Q4_0, Q4_1 and
Q4_K_M took up to twice the file's size of memory, Q6_K and F16 three to four times, and Q5_K did not load.
GenAI's reader is not known to heed stretched positions (rope scaling): such a model could answer badly.
"""

from appliance.engines.options import Kind
from appliance.models.bundle import ModelFormat
from appliance.models.facts import ModelFacts

GGUF_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
MEMORY_FOR_A_BYTE = 2.0
"""Of the file's weights: they are laid out anew."""
_QUANTISATIONS = frozenset({"Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M", "Q8_0"})


def openvino_reads(facts: ModelFacts, *, files: int) -> bool:
    """Whether GenAI can serve the model from its GGUF; `files`: how many it lies in."""
    return (
        facts.format is ModelFormat.GGUF
        and facts.kind is Kind.TEXT
        and facts.architecture in GGUF_ARCHITECTURES
        and facts.quantisation in _QUANTISATIONS
        and facts.has_plain_positions
        and not facts.sliding_window
        and files == 1
    )
