"""What passes through a stream: the same bytes however they were cut, less our own usage chunk."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pool.stream import BadStream, EventFilter, usage_of_answer


def event(document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


TOKEN = event({"choices": [{"delta": {"content": 'she said \n\n data: "usage": {} é🙂'}}], "usage": None})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
LAST = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
DONE = b"data: [DONE]\n\n"
STREAM = TOKEN + TOKEN + LAST + USAGE + DONE


def passed(stream: bytes, cuts: list[int], *, drop_usage: bool) -> tuple[bytes, EventFilter]:
    events = EventFilter(drop_usage=drop_usage)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    out = b"".join(events.feed(stream[a:b]) for a, b in pairwise(edges))
    return out + events.end(), events


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_only_our_usage_chunk_is_taken_out_however_the_bytes_are_cut(cuts: list[int]) -> None:
    out, events = passed(STREAM, cuts, drop_usage=True)
    assert out == TOKEN + TOKEN + LAST + DONE
    assert events.usage == (7, 3)


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_nothing_is_taken_out_when_the_client_asked_for_its_usage(cuts: list[int]) -> None:
    out, events = passed(STREAM, cuts, drop_usage=False)
    assert out == STREAM and events.usage == (7, 3)


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0, max_value=400), max_size=10))
def test_bytes_that_are_no_events_pass_unchanged(stream: bytes, cuts: list[int]) -> None:
    assert passed(stream, cuts, drop_usage=True)[0] == stream


def test_carriage_returns_are_understood() -> None:
    stream = STREAM.replace(b"\n\n", b"\r\n\r\n")
    out, events = passed(stream, [], drop_usage=True)
    assert events.usage == (7, 3) and b'"total_tokens"' not in out and out.endswith(b"data: [DONE]\r\n\r\n")


def test_an_event_without_end_is_refused() -> None:
    events = EventFilter(drop_usage=True)
    with pytest.raises(BadStream):
        for _ in range(100):
            events.feed(b"x" * 100_000)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (
            b'{"content":"\\"usage\\": {}","usage":{"prompt_tokens":5,"completion_tokens":2}}',
            (5, 2),
        ),
        (
            b'{"usage" : {"prompt_tokens":5,"completion_tokens":2,"details":{"cached":1}},"object":"x"}',
            (5, 2),
        ),
        (b'{"data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}', (9, 0)),
        (b'{"usage":null}', None),
        (b'{"usage":{"prompt_tokens":-1,"completion_tokens":1e300}}', None),
        (b"no JSON at all", None),
    ],
)
def test_usage_of_a_whole_answer(body: bytes, usage: tuple[int, int] | None) -> None:
    assert usage_of_answer(body) == usage
