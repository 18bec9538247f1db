"""Text is cut at characters and stop strings only, in whatever pieces its bytes come."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.text import TextStream


def fed(pieces: list[bytes], *stops: str) -> tuple[list[str], TextStream]:
    stream = TextStream(stops)
    shown = []
    for piece in pieces:
        shown.append(stream.push(piece))
        if stream.stopped:
            return shown, stream
    return [*shown, stream.finish()], stream


def test_a_character_waits_for_its_last_byte() -> None:
    emoji = "🦆".encode()
    assert fed([b"a" + emoji[:2], emoji[2:3], emoji[3:] + b"b"])[0] == ["a", "", "🦆b", ""]


def test_an_unfinished_character_ends_as_a_replacement_character() -> None:
    assert fed(["é".encode()[:1]])[0] == ["", "\ufffd"]


def test_a_stop_string_over_several_tokens_never_shows() -> None:
    shown, stream = fed([b"one ST", b"O", b"P two"], "STOP")
    assert shown == ["one ", "", ""]
    assert stream.stopped


def test_a_beginning_of_a_stop_string_is_shown_once_it_is_none() -> None:
    shown, stream = fed([b"ST", b"ART", b" ST"], "STOP")
    assert shown == ["", "START", " ", "ST"]
    assert not stream.stopped


def test_the_earliest_of_several_stop_strings_cuts() -> None:
    assert "".join(fed([b"abcdef"], "ef", "cd")[0]) == "ab"


def test_a_stop_string_that_repeats_its_beginning() -> None:
    shown, stream = fed([b"aa", b"ab", b"!"], "aab")
    assert ("".join(shown), stream.stopped) == ("a", True)


@given(
    st.text(alphabet="abST🦆é", max_size=30),
    st.lists(st.text("abST🦆", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_any_cutting_into_pieces_gives_the_same_text(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    encoded = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=8)))
    pieces = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
    shown, stream = fed(pieces, *stops)
    whole = "".join(shown)
    assert text.startswith(whole)
    assert not any(stop in whole for stop in stops)
    assert stream.stopped == any(stop in text for stop in stops)
    if not stream.stopped:
        assert whole == text
    assert stream.shown_length == len(whole)
