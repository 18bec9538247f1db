"""What passes between a head and its part for a token, counted: planning's arithmetic stands on it."""

from itertools import pairwise
from pathlib import Path

from appliance.engines.sharding.weights import read_weights
from appliance.placement.split_cost import ROUND_TRIPS, SplitModel, passed_bytes
from tests.bench.delayed_link import delayed_link
from tests.bench.random_model import Shape, random_model
from tests.conftest import free_port
from tests.engines.serving import engine_process
from tests.engines.splitting import running_part

WIDE = Shape("Random wide", 1024, 1024, 1024, 4, 8, 2, context_tokens=1024)
FEW, MANY = 10, 50


def test_one_answer_of_the_part_is_waited_for_and_as_much_passes_as_is_planned(tmp_path: Path) -> None:
    file = random_model(tmp_path, WIDE)
    heard: list[tuple[bool, int]] = []

    def counted(tokens: int) -> tuple[int, int]:
        """How often the head went on after an answer, and bytes, both ways together."""
        heard.clear()
        reply = engine.complete([400 + tokens, 5, 7], temperature=0, max_tokens=tokens, ignore_eos=True)
        assert reply.status == 200, reply.body
        came = list(heard)
        turns = sum(one[0] and not other[0] for one, other in pairwise(came))
        return turns, sum(count for _, count in came)

    near = free_port()
    with running_part() as part:
        far = part.address
        with (
            delayed_link([(near, far.port)], 0, lambda is_answer, count: heard.append((is_answer, count))),
            delayed_link([(near + 1, far.status_port)], 0),
            engine_process(
                file, "--slots", "1", "--threads", "1", "--setting", f"parts=127.0.0.1:{near}=2"
            ) as engine,
        ):
            counted(FEW)
            # what passes once for each answer is in both
            few, many = counted(FEW), counted(MANY)
    turns, passed = ((much - little) / (MANY - FEW) for little, much in zip(few, many, strict=True))
    planned = passed_bytes(SplitModel("wide", read_weights(file), 1024))
    assert turns == ROUND_TRIPS
    assert 0.8 * planned < passed <= planned
