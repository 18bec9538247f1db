"""The simulated day against a real one: the same requests through the real pool to a real engine.

An engine with a random 235 M model is measured by the box's own benchmark; then requests come at random for
two minutes. The same arrivals are replayed in simulated time at the measured speed, and the percentiles
compared. Nothing fails here: the deviation is what there is to know. On a machine that does other work it is
large.
"""

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx

from appliance.accounting.usage import percentile
from appliance.placement.arrivals import Arrival, Workload, arrivals
from appliance.placement.contract import Speed, SpeedSource
from appliance.placement.measuring import EngineAddress, EngineSpeed, measure_engine
from appliance.placement.replay import SimulatedNode, replay
from appliance.settings import Settings
from appliance.storage import open_activity
from tests.bench.llama_server import CACHE
from tests.bench.random_model import BENCH, random_model
from tests.conftest import free_port
from tests.pool.conftest import Box, start_box
from tests.pool.real_engine import MODEL, real_engine

SECONDS = 120
SLOTS = 4
PROMPT_TOKENS, ANSWER_TOKENS = 150, 40
BUSY = 0.6
_WORDS_A_TOKEN = 0.55
"""Of the text below, by the random model's tokenizer; the ledger has the true number."""


def main() -> bool:
    """Prints the comparison."""
    state_dir = Path(tempfile.mkdtemp(prefix="s"))
    for folder in ("run", "secrets"):
        (state_dir / folder).mkdir(mode=0o700)
    box = start_box(Settings(state_dir=state_dir, port=free_port(), metrics_port=free_port()))
    arguments = [
        "--model",
        str(random_model(CACHE / "models", BENCH)),
        "--slots",
        str(SLOTS),
        "--threads",
        "1",
    ]
    try:
        with real_engine(box, *arguments):
            address = EngineAddress(socket_path=box.settings.engine_socket(MODEL))
            speed = measure_engine(address, MODEL, SLOTS, limit_seconds=300)
            print(f"measured: {speed}")
            asked = _arrivals(speed)
            real = _really(box, asked)
            again = measure_engine(address, MODEL, SLOTS, limit_seconds=300)
            print(f"measured again: {again}")
    finally:
        box.stop_all()
    # what the ledger says was read and answered, at the times when it was asked
    found = replay(
        [SimulatedNode("box", MODEL, SLOTS, _between(speed, again))], [arrival for arrival, _, _ in real]
    )
    simulated = [(each.first_token_seconds, each.duration_seconds) for each in found.answers]
    for name, index in (("first token", 0), ("whole answer", 1)):
        for share in (0.5, 0.95):
            truly = percentile([times[index] for _, *times in real], share) or 0.0
            told = percentile([times[index] for times in simulated], share) or 0.0
            off = f"{told / truly - 1:+.0%}" if truly else "-"
            print(f"{name:13} p{share * 100:.0f}  real {truly:6.2f} s  simulated {told:6.2f} s  {off}")
    return True


def _arrivals(speed: EngineSpeed) -> list[Arrival]:
    each = PROMPT_TOKENS / speed.prompt + ANSWER_TOKENS / speed.together
    count = int(SECONDS * BUSY / each)
    hour = ((0, 1.0),)
    workload = Workload(count, 1, ((MODEL, 1.0),), PROMPT_TOKENS, ANSWER_TOKENS, hour)
    scale = SECONDS / 3600
    return [
        Arrival(one.at * scale, one.caller_id, MODEL, one.prompt_tokens, min(200, one.answer_tokens))
        for one in arrivals(workload, seed=7)
    ]


def _really(box: Box, asked: list[Arrival]) -> list[tuple[Arrival, float, float]]:
    """Each request at its time; what the ledger says of it: tokens, first token, duration."""
    began = time.time()
    with ThreadPoolExecutor(64) as threads:
        for number, arrival in enumerate(asked):
            threading.Event().wait(max(0.0, began + arrival.at - time.time()))
            threads.submit(_ask, box, number, arrival)
    box.stop()
    rows = open_activity(box.settings.state_dir).execute(
        "SELECT at, tokens_in, tokens_out, first_token_seconds, duration_seconds FROM ledger"
        " WHERE outcome = 'answered' AND first_token_seconds IS NOT NULL ORDER BY at"
    )
    return [
        (Arrival(at - began, "c", MODEL, max(1, tokens_in), max(1, tokens_out)), first, duration)
        for at, tokens_in, tokens_out, first, duration in rows
    ]


def _ask(box: Box, number: int, arrival: Arrival) -> None:
    prompt = f"{number} " + "paper and ink " * int(arrival.prompt_tokens * _WORDS_A_TOKEN / 3)
    body = {
        "model": MODEL, "prompt": prompt, "max_tokens": arrival.answer_tokens, "stream": True,
        "temperature": 0, "ignore_eos": True,
    }  # fmt: skip
    with httpx.Client(timeout=180) as client:
        client.post(
            f"{box.url}/v1/completions", json=body, headers={"authorization": f"Bearer {box.key.secret}"}
        )


def _between(first: EngineSpeed, second: EngineSpeed) -> Speed:
    """The machine's mean over the time of the load."""
    prompt, alone, together = (
        (getattr(first, name) + getattr(second, name)) / 2 for name in ("prompt", "alone", "together")
    )
    return Speed(prompt, alone, together, SLOTS, SpeedSource.MEASURED, "here")
