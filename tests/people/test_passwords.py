"""A password is judged by what makes it guessable, and checked in the same time whoever it is for."""

import time

import pytest

from appliance.people.passwords import (
    PasswordRefused,
    PasswordRule,
    broken_rules,
    hash_password,
    password_matches,
)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "élan vital à midi",
        "9f3k-20xq-77pz",
        "mon chien s'appelle Rex",
        "日本語のパスワードです!!",
    ],
)
def test_accepts_long_and_unusual_ones(password: str) -> None:
    assert broken_rules(password, "ana") == ()


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("elevenchars", PasswordRule.TOO_SHORT),
        ("x1y2z3" * 50, PasswordRule.TOO_LONG),
        ("my name is ANA, hello", PasswordRule.HOLDS_NAME),
        ("Password-1234", PasswordRule.COMMON),
        ("azertyazerty", PasswordRule.COMMON),
        ("123456789012", PasswordRule.COMMON),
        ("Cellule Appliance 2026!", PasswordRule.COMMON),
        ("aaaaaaaaaaaa", PasswordRule.COMMON),
        ("abababababab", PasswordRule.COMMON),
    ],
)
def test_names_the_broken_rule(password: str, rule: PasswordRule) -> None:
    assert rule in broken_rules(password, "ana")


def test_a_common_word_inside_a_longer_secret_is_fine() -> None:
    assert broken_rules("welcome purple elephants", "ana") == ()


def test_stores_a_salted_scrypt_hash_that_matches_only_its_password() -> None:
    first, second = (hash_password("correct horse battery", "ana") for _ in range(2))
    assert first.startswith("scrypt:")
    assert first != second
    assert password_matches(first, "correct horse battery")
    assert not password_matches(first, "correct horse batterie")
    assert not password_matches(None, "the password of nobody")


def test_refuses_to_hash_what_breaks_a_rule() -> None:
    with pytest.raises(PasswordRefused) as refused:
        hash_password("ana", "ana")
    assert refused.value.rules == (PasswordRule.TOO_SHORT, PasswordRule.HOLDS_NAME, PasswordRule.COMMON)


def test_takes_as_long_when_there_is_no_account() -> None:
    stored = hash_password("correct horse battery", "ana")

    def fastest(stored_hash: str | None) -> float:
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            password_matches(stored_hash, "wrong horse battery")
            times.append(time.perf_counter() - begin)
        return min(times)

    # an answer without hashing would be a thousand times faster
    assert fastest(None) == pytest.approx(fastest(stored), rel=0.5)
