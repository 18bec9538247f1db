"""A long text is tokenized in parts, to the same tokens as the whole, in time that grows with its length."""

import random
from pathlib import Path

import pytest

from appliance.engines.llama import llama
from appliance.engines.long_texts import LEAST_PART_BYTES, WHOLE_BYTES, beginnings, parts_of
from appliance.engines.model import Model
from tests.conftest import DEMO_MODEL

PIECES = [
    "<|im_start|>user\n",
    "<|im_end|>",
    "<|endoftext|>",
    "<|im_",
    "|>",
    "é🦆 ",
    "word ",
    "\n\n",
    "  ",
    "<",
    ">",
]


@pytest.fixture(scope="module", params=["tiny", "demo"])
def model(request: pytest.FixtureRequest, tiny_model: Path) -> Model:
    return Model(tiny_model if request.param == "tiny" else DEMO_MODEL)


@pytest.mark.parametrize("special", [True, False])
def test_the_parts_make_the_tokens_of_the_whole(
    model: Model, special: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    for begin in (False, True):
        text = "".join(chance.choice(PIECES) for _ in range(8_000))
        assert len(text) > WHOLE_BYTES
        in_parts = model.tokenize(text, special=special, begin=begin)
        with monkeypatch.context() as patched:
            patched.setattr("appliance.engines.model.WHOLE_BYTES", len(text) * 4)
            assert in_parts == model.tokenize(text, special=special, begin=begin)


def test_llama_never_sees_a_long_text_of_many_control_tokens_whole(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks through all that it sees from each of them: by the square of the length."""
    seen: list[int] = []
    tokenize = llama.llama_tokenize

    def watched(vocabulary: object, data: bytes, *more: object) -> int:
        seen.append(len(data))
        return int(tokenize(vocabulary, data, *more))

    monkeypatch.setattr(llama, "llama_tokenize", watched)
    assert len(model.tokenize("<|im_end|>" * 100_000, special=True)) == 100_000
    assert max(seen) < 2 * LEAST_PART_BYTES


def test_parts_begin_at_special_tokens_and_are_all_of_the_text() -> None:
    assert beginnings([b"\n\n", b"  "]) is None
    where = beginnings([b"<x>", b"<x>y", b"<longer>"])
    assert where is not None
    data = b"a" * 700 + b"<x>" + b"b" * 10 + b"<longer>" + b"c" * 600 + b"<longer>" * 200
    parts = parts_of(data, where)
    assert b"".join(parts) == data and len(parts) > 3
    assert all(len(part) >= LEAST_PART_BYTES for part in parts[:-1])
    assert all(where.match(part) for part in parts[1:])
