"""Intel's OpenVINO GenAI as an engine: text, embeddings, reranking, transcription, images. On CPU, GPU, NPU.

Each module gives one `Served`, which `engines.loading` imports only when a process is asked for it.
"""
