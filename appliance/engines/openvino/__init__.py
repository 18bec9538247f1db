"""Intel's OpenVINO GenAI as an engine: text, embeddings, reranking, transcription, images. On CPU, GPU, NPU.

Each module gives one `Served`, which `engines.loading` imports only when a process is asked for it.

The package openvino-telemetry comes with OpenVINO and would call a server on the internet. It is hidden here,
before any module of this package can import OpenVINO, which then takes a stand-in that does nothing.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it fails from now on
