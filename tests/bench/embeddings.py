"""Embeddings through the engine server against the bare pipeline, for OpenVINO and for llama.cpp.

The model has the shape of MiniLM (6 layers, 384 wide) and random weights, which cost as much as trained ones.
The texts are chunks of about 100 tokens, 64 in a request, as an index of documents sends them. Server and
bare pipeline compute in processes of their own, one after the other, on one thread; the best round of each
counts, in texts per second of processor time. Through the server: at least 0.9 of the bare pipeline.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.bench.minilm import gguf_model, openvino_model
from tests.engines.serving import ROOT, RunningEngine, engine_process

LEAST_RATIO = 0.9
TEXTS, ROUNDS = 64, 3
WORDS = 25
LETTERS = "etaoinshrdlu"


def texts(seed: int) -> list[str]:
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices(LETTERS, k=draw.randint(2, 6)))

    return [" ".join(word() for _ in range(draw.randint(WORDS - 8, WORDS + 8))) for _ in range(TEXTS)]


def main() -> bool:
    """Prints the table; whether both engines reach the target."""
    return all([_compare("openvino", openvino_model()), _compare("llama.cpp", gguf_model())])


def _compare(engine: str, model: Path) -> bool:
    bare = _bare(engine, model)
    arguments = ("--engine", engine, "--kind", "embeddings", "--threads", "1")
    with engine_process(model, *arguments, quiet=True) as running:
        served = max(_round(running, seed) for seed in range(ROUNDS))
    ratio = served / bare
    print(f"{engine:10} bare {bare:7.1f} texts/CPU-s   served {served:7.1f}   ratio {ratio:.2f}", flush=True)
    return ratio >= LEAST_RATIO


def _round(engine: RunningEngine, seed: int) -> float:
    before = engine.cpu_seconds()
    body = {"model": engine.model, "input": texts(seed), "encoding_format": "base64"}
    reply = engine.call("POST", "/v1/embeddings", body)
    assert reply.status == 200 and len(reply.json()["data"]) == TEXTS, reply.body[:500]
    return TEXTS / (engine.cpu_seconds() - before)


def _bare(engine: str, model: Path) -> float:
    command = [sys.executable, "-m", "tests.bench.embeddings", engine, str(model)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _measure(embed: Callable[[list[str]], object]) -> float:
    """The best round of a bare pipeline in this process."""
    embed(texts(99))
    best = 0.0
    for seed in range(ROUNDS):
        before = _cpu_seconds()
        embed(texts(seed))
        best = max(best, TEXTS / (_cpu_seconds() - before))
    return best


def _cpu_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def bare_openvino(model: Path) -> float:
    import openvino_genai

    pooling = openvino_genai.TextEmbeddingPipeline.PoolingType.MEAN
    pipeline = openvino_genai.TextEmbeddingPipeline(
        model, "CPU", pooling_type=pooling, INFERENCE_NUM_THREADS=1
    )
    return _measure(pipeline.embed_documents)


def bare_llama(model: Path) -> float:
    """llama-cpp-python's own Llama.embed, with its largest batch."""
    from appliance.engines.llama import llama  # loads the backends

    assert llama
    from llama_cpp import Llama

    pipeline = Llama(
        str(model), embedding=True, n_ctx=2048, n_batch=2048, n_ubatch=2048, n_threads=1, n_threads_batch=1,
        verbose=False,
    )  # fmt: skip
    return _measure(lambda given: pipeline.embed(given, normalize=True))


if __name__ == "__main__":
    print(json.dumps({"openvino": bare_openvino, "llama.cpp": bare_llama}[sys.argv[1]](Path(sys.argv[2]))))
