"""From what an engine process was told to the loaded model. Adding a way to compute is adding a line here.

Each way is imported only where it is asked for: a process holds one engine's library.
"""

from appliance.engines.metrics import EngineMetrics
from appliance.engines.options import EngineOptions, Kind
from appliance.engines.served import Served
from appliance.errors import Refused
from appliance.hardware.profile import EngineName


class KindNotOffered(Refused):
    """This engine can't serve models of that kind."""

    code = "kind_not_offered"


def load(options: EngineOptions, metrics: EngineMetrics) -> Served:
    """Takes seconds: not on an event loop. Raises ModelUnusable, KindNotOffered."""
    match options.engine, options.kind:
        case EngineName.LLAMA_CPP, Kind.TEXT:
            from appliance.engines.engine import Engine

            return Engine(options, metrics)
        case EngineName.ADOPTED, Kind.TEXT:
            from appliance.engines.adopted.engine import Adopted

            return Adopted(options, metrics)
        case EngineName.LLAMA_CPP, Kind.EMBEDDINGS:
            from appliance.engines.llama_pooled import LlamaEmbeddings

            return LlamaEmbeddings(options, metrics)
        case EngineName.LLAMA_CPP, Kind.RERANK:
            from appliance.engines.llama_pooled import LlamaRerank

            return LlamaRerank(options, metrics)
        case EngineName.OPENVINO, Kind.TEXT:
            from appliance.engines.openvino.engine import OpenVinoEngine

            return OpenVinoEngine(options, metrics)
        case EngineName.OPENVINO, Kind.EMBEDDINGS:
            from appliance.engines.openvino.embeddings import OpenVinoEmbeddings

            return OpenVinoEmbeddings(options, metrics)
        case EngineName.OPENVINO, Kind.RERANK:
            from appliance.engines.openvino.rerank import OpenVinoRerank

            return OpenVinoRerank(options, metrics)
        case EngineName.OPENVINO, Kind.TRANSCRIPTION:
            from appliance.engines.openvino.transcription import OpenVinoTranscription

            return OpenVinoTranscription(options, metrics)
        case EngineName.OPENVINO, Kind.IMAGES:
            from appliance.engines.openvino.images import OpenVinoImages

            return OpenVinoImages(options, metrics)
        case engine, kind:
            raise KindNotOffered(f"{engine} can't serve {kind} models here.")
