"""The code survives being typed: what comes out is what went in, or an error before anything is sent."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.enrolment.invitation_code import InvitationCode, InvitationMistyped, format_code, parse_code

codes = st.builds(
    InvitationCode,
    id=st.binary(min_size=4, max_size=4),
    secret=st.binary(min_size=16, max_size=16),
    pin=st.binary(min_size=16, max_size=16),
)
EXAMPLE = InvitationCode(id=b"\1\2\3\4", secret=bytes(range(16)), pin=bytes(range(16, 32)))


@given(codes)
def test_round_trip(code: InvitationCode) -> None:
    assert parse_code(format_code(code)) == code


@given(codes, st.randoms(use_true_random=False))
def test_case_spaces_dashes_and_look_alikes_mean_nothing(code: InvitationCode, rng: random.Random) -> None:
    typed = ""
    for position, character in enumerate(format_code(code)):
        shown = rng.choice([character, character.lower()])
        # the version at the start is not base 32
        if position > 4:
            shown = rng.choice([shown, {"O": "0", "I": "1", "B": "8"}.get(character, shown)])
        typed += "" if shown == "-" else shown + rng.choice(["", "", " ", "-", "\u2011", "\n", "\u00a0"])
    assert parse_code(typed) == code


@given(codes, st.integers(min_value=0, max_value=83), st.characters(codec="utf-8"))
def test_a_changed_character_is_never_another_code(code: InvitationCode, position: int, other: str) -> None:
    text = format_code(code)
    changed = text[:position] + other + text[position + 1 :]
    try:
        assert parse_code(changed) == code
    except InvitationMistyped:
        return
    # accepted only where the change means nothing
    plain = str.maketrans("018", "OIB")
    assert "".join(filter(str.isalnum, changed.upper()))[4:].translate(plain) == text.replace("-", "")[4:]


@given(codes, st.integers(min_value=5, max_value=82))
def test_two_swapped_characters_are_noticed(code: InvitationCode, position: int) -> None:
    text = format_code(code)
    swapped = text[:position] + text[position + 1] + text[position] + text[position + 2 :]
    if "-" in swapped[position : position + 2] or swapped == text:
        return
    with pytest.raises(InvitationMistyped):
        parse_code(swapped)


@given(st.text(max_size=120))
def test_any_text_is_a_code_or_a_clear_error(text: str) -> None:
    with pytest.raises(InvitationMistyped) as refused:
        parse_code(text)
    assert refused.value.next_step


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "starts with CEL1"),
        ("CEL2" + format_code(EXAMPLE)[4:], "starts with CEL1"),
        (format_code(EXAMPLE)[:-1], "has 63 characters"),
        (format_code(EXAMPLE) + "A", "has 65 characters"),
        (format_code(EXAMPLE)[:-1] + "9", "no code has"),
        (format_code(EXAMPLE)[:-1] + "\u00e9", "no code has"),
    ],
)
def test_the_error_says_what_is_wrong(typed: str, said: str) -> None:
    with pytest.raises(InvitationMistyped, match=said):
        parse_code(typed)


def test_the_secret_is_not_in_the_repr() -> None:
    assert repr(EXAMPLE.secret) not in repr(EXAMPLE)
