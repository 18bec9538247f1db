"""The backup key: typed by people, checked before it is tried, understood by the age of everybody."""

import stat

import pytest
from pyrage.x25519 import Identity

from appliance.keeping.key import (
    BackupKeyMistyped,
    WrongBackupKey,
    backup_key,
    confirm_backup_key,
    former_backup_key,
    is_backup_key_confirmed,
    make_backup_key,
    parse_backup_key,
    replace_backup_key,
)
from appliance.settings import Settings


def test_a_key_is_understood_however_it_is_typed() -> None:
    key = make_backup_key()
    for typed in (
        key.text,
        key.text.lower(),
        key.text.replace("-", " "),
        key.text.replace("-", "").replace("0", "o").replace("1", "l"),
        f"  {key.text}\n",
        key.sheet(),
    ):
        assert parse_backup_key(typed) == key


def test_a_slip_is_told_before_anything_is_tried() -> None:
    text = make_backup_key().text
    other = "7" if text[0] != "7" else "8"
    for typed in ("", "x", text[:-1], text + "A", "AGE-SECRET-KEY-1", text.replace(text[0], other)):
        with pytest.raises(BackupKeyMistyped):
            parse_backup_key(typed)


def test_almost_every_wrong_character_is_noticed() -> None:
    key = make_backup_key()
    noticed = 0
    for at, was in enumerate(key.text):
        if was == "-":
            continue
        typed = key.text[:at] + ("7" if was != "7" else "8") + key.text[at + 1 :]
        try:
            parse_backup_key(typed)
        except BackupKeyMistyped:
            noticed += 1
    assert noticed >= 30


def test_the_sheet_holds_the_identity_that_age_takes() -> None:
    key = make_backup_key()
    [line] = [line for line in key.sheet().splitlines() if not line.startswith("#")]
    assert str(Identity.from_str(line).to_public()) == str(key.identity.to_public())
    assert key.fingerprint in key.sheet()
    assert len({make_backup_key().fingerprint for _ in range(20)}) == 20


def test_the_box_makes_one_and_keeps_it_to_itself(settings: Settings) -> None:
    key = backup_key(settings)
    assert backup_key(settings) == key
    file = settings.secrets_dir / "backup-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not is_backup_key_confirmed(settings)
    with pytest.raises(WrongBackupKey):
        confirm_backup_key(settings, make_backup_key().text)
    assert not is_backup_key_confirmed(settings)
    confirm_backup_key(settings, key.text.lower())
    assert is_backup_key_confirmed(settings)


def test_a_new_key_is_confirmed_anew_and_the_first_former_one_stays(settings: Settings) -> None:
    first = backup_key(settings)
    confirm_backup_key(settings, first.text)
    second = replace_backup_key(settings)
    assert backup_key(settings) == second != first
    assert not is_backup_key_confirmed(settings)
    replace_backup_key(settings)
    assert former_backup_key(settings) == first
