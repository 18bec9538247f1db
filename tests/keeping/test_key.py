"""The backup key: typed by people, checked before it is tried, understood by the age of everybody."""

import stat

import pytest
from pyrage.x25519 import Identity

from appliance.keeping.key import (
    BackupKeyMistyped,
    NoBackupKey,
    WrongBackupKey,
    backup_key,
    backup_recipient,
    confirm_backup_key,
    is_backup_key_confirmed,
    make_backup_key,
    offer_new_backup_key,
    parse_backup_key,
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


def test_the_box_offers_one_and_forgets_it_once_somebody_has_it(settings: Settings) -> None:
    key = backup_key(settings)
    assert key and backup_key(settings) == key
    file = settings.secrets_dir / "backup-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(NoBackupKey):
        backup_recipient(settings)
    with pytest.raises(WrongBackupKey):
        confirm_backup_key(settings, make_backup_key().text)
    assert not is_backup_key_confirmed(settings)
    confirm_backup_key(settings, key.text.lower())
    assert is_backup_key_confirmed(settings)
    assert backup_key(settings) is None
    kept = b"".join(path.read_bytes() for path in settings.secrets_dir.iterdir())
    assert key.text.encode() not in kept and str(key.identity).encode() not in kept
    assert backup_recipient(settings) == key.recipient


def test_a_new_key_counts_once_it_is_confirmed(settings: Settings) -> None:
    first = backup_key(settings)
    assert first
    confirm_backup_key(settings, first.text)
    second = offer_new_backup_key(settings)
    assert backup_key(settings) == second != first
    assert backup_recipient(settings) == first.recipient
    confirm_backup_key(settings, second.text)
    assert backup_recipient(settings) == second.recipient
    third = offer_new_backup_key(settings)
    confirm_backup_key(settings, third.text)
    former = settings.secrets_dir / "backup-password.former"
    assert former.read_text() == first.password, "the target has not been there since"
