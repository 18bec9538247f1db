"""No secret in any form survives redaction, and what is not secret mostly does."""

import json
import re
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from appliance.support.redaction import Known, Pseudonyms, Redactor
from appliance.support.redaction.disguises import DISGUISES as FORMS
from appliance.support.redaction.disguises import views
from tests.support.planted import DISGUISES, KINDS

PSEUDONYMS = Pseudonyms(b"the key of a test")
REDACTOR = Redactor(Known(frozenset(), {}), PSEUDONYMS, hide_addresses=True)
JOURNAL = (
    "2026-11-21T04:43:05+00:00 cellule-core[12]: job audit_trail: audit trail whole, 12 lines\n"
    "2026-11-21T04:43:06+00:00 cellule-pool[14]: request_id=0b7c5d2e-91aa-4c13-8f5e-2d6f0a1b3c4d status=200\n"
)


def core_of(secret: str) -> list[str]:
    """Pieces of a secret that must not be readable: sixteen characters of its middle, and of its end."""
    plain = re.sub(r"-----[A-Z ]+-----|\s", "", secret).removeprefix("cellule_session=")
    plain = plain.partition("@")[0] if "@" in plain else plain
    middle = len(plain) // 2
    return [plain[middle - 6 : middle + 6], plain[-12:]]


def leaks(secret: str, text: str) -> list[str]:
    """Which pieces can be read out of `text` in any form."""
    seen = [re.sub(r"\s", "", view.text) for view in views(text)]
    return [piece for piece in core_of(secret) if any(piece in each for each in seen)]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_secret_is_taken_out_in_every_form(kind: str, disguise: str) -> None:
    for _ in range(3):
        secret = KINDS[kind]()
        text = f"{JOURNAL}it was: {DISGUISES[disguise](secret)} ok\n{JOURNAL}"
        assert leaks(secret, text), "the test looks for what is there"
        redacted = REDACTOR.redact(text)
        assert leaks(secret, redacted.text) == [], redacted.text
        assert sum(redacted.removed.values()) >= 1
        assert redacted.text.count("audit trail whole") >= 1


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(KINDS)),
    # the journal writes its prefix last, before its own lines
    first=st.sampled_from(sorted(DISGUISES.keys() - {"journal lines"})),
    second=st.sampled_from(sorted(DISGUISES)),
    before=st.text(st.characters(codec="utf-8"), max_size=40),
    after=st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_also_in_two_forms_at_once_and_between_any_words(
    kind: str, first: str, second: str, before: str, after: str
) -> None:
    secret = KINDS[kind]()
    text = f"{before} {DISGUISES[second](DISGUISES[first](secret))} {after}"
    assert leaks(secret, REDACTOR.redact(text).text) == []


@given(text=st.text(st.characters(codec="utf-8"), max_size=400))
def test_any_text_can_be_redacted_and_views_lead_back(text: str) -> None:
    assert isinstance(REDACTOR.redact(text).text, str)
    for view in views(text):
        for position in range(len(view.text)):
            start, end = view.origin(position, position + 1)
            assert 0 <= start <= end <= len(text)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ('{"password": "hunter2 and more"}', "hunter2"),
        ("nas_password=tr0ub4dor&3", "tr0ub4dor"),
        ("smb://ana:geheim@nas.local/backup", "geheim"),
        ("Authorization: Bearer abcdefgh.ijkl-mnop", "abcdefgh"),
        ("Cookie: cellule_form=eyJjc3JmIjoi; theme=dark", "eyJjc3"),
        ("Set-Cookie: cellule_session=abc; HttpOnly", "abc;"),
        ("S3_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG'", "wJalr"),
        ("access_key=AKIAIOSFODNN7EXAMPLE", "AKIAIOS"),
        ("password=hunt\n    er2long ok", "er2long"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAZ9", "MC4CAQ"),
        ("from 192.168.178.20 port 5", "192.168"),
        ("mac 52:54:00:12:34:56 up", "52:54"),
        ("fe80::5054:ff:fe12:3456%eth0", "fe80"),
    ],
)
def test_what_is_named_as_a_secret_is_one(text: str, gone: str) -> None:
    assert gone not in REDACTOR.redact(text).text


@pytest.mark.parametrize(
    "text",
    [
        JOURNAL,
        "tokens_in: 512, tokens_out: 24, max_tokens=64\n",
        "roothash=4f2d1c0b9a8e7d6c5b4a39281706f5e4d3c2b1a0998877665544332211ffeedd\n",
        "WARNING the network could not be reconciled: No such device\n",
        '{"must_change_password": [0], "migrations": ["0001_day_one", "0002_choices"]}'.replace("[0]", "{}"),
        '{"recovery_key": true, "password": null}',
        "secrets_dir: /var/lib/cellule/secrets\n",
        "10.77.0.3:8000: connected in 2.1 ms\n",
        "Linux cellule 6.12.9-amd64 #1 SMP PREEMPT_DYNAMIC x86_64\n",
    ],
)
def test_what_is_not_secret_stays(text: str) -> None:
    assert REDACTOR.redact(text).text == text


def test_names_become_stable_pseudonyms() -> None:
    known = Known(frozenset(), {"ana": "user", "PC Empfang": "worker"})
    redactor = Redactor(known, PSEUDONYMS, hide_addresses=False)
    first = redactor.redact("ANA signed in, then ana left; banana; pc empfang is silent").text
    user, again = re.findall(r"\[user-[0-9a-f]{6}\]", first)
    assert user == again
    assert "banana" in first
    assert "empfang" not in first
    other = Redactor(Known(frozenset(), {"ana": "user"}), Pseudonyms(b"another box"), hide_addresses=False)
    assert user not in other.redact("ana").text
    assert "192.168.1.5" in redactor.redact("from 192.168.1.5").text, "only when the admin asks for it"


def test_what_the_box_knows_to_be_secret_goes_whatever_it_looks_like() -> None:
    known = Known(frozenset({"correct horse battery", "abcd-efgh"}), {})
    redactor = Redactor(known, PSEUDONYMS, hide_addresses=False)
    for disguise in DISGUISES.values():
        assert leaks("correct horse battery", redactor.redact(disguise("correct horse battery")).text) == []
    assert redactor.redact("ABCD EFGH, abcdefgh").removed == {"known-secret": 2}


def test_a_full_log_takes_seconds_not_minutes() -> None:
    line = "2026-11-21T04:43:06+00:00 pool[14]: request_id=0b7c5d2e-91aa-4c13-8f5e-2d6f0a1b3c4d {} ms\n"
    text = "".join(line.format(number) for number in range(10_000))
    began = time.monotonic()
    assert REDACTOR.redact(text + json.dumps({"a\tb": "c%20d"})).text.startswith(text)
    seconds = time.monotonic() - began
    print(f"{len(text) / 1e6:.1f} MB in {seconds:.1f} s")
    assert seconds < 20


def test_every_form_is_tried() -> None:
    assert {form.name for form in FORMS} >= {"escaped", "percent", "wrapped", "hex", "base64+0", "base64+3"}
