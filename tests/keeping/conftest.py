"""A box with people, keys and a ledger on it, and another that nobody has claimed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from werkzeug.security import generate_password_hash

from appliance.claim import ensure_certificate, ensure_claim_code
from appliance.host import this_machine
from appliance.keeping.key import BackupKey, backup_key, confirm_backup_key
from appliance.people import Role, create_account, create_api_key, passwords, start_session
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule
from tests.accounting.ledger import add_line
from tests.conftest import free_port

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a hash is tested in tests/people; here it would be most of the time."""
    monkeypatch.setattr(passwords, "_METHOD", "scrypt:1024:1:1")
    monkeypatch.setattr(
        passwords, "_HASH_OF_NOBODY", generate_password_hash("nobody", method="scrypt:1024:1:1")
    )


@dataclass(frozen=True)
class Facts:
    """What of a box must be the same on the other side of a restore."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    ledger_lines: int
    tls_key: bytes
    tunnel_key: str


def new_box(folder: Path) -> Settings:
    """A box that was started once."""
    for name in ("run", "secrets"):
        (folder / name).mkdir(mode=0o700, parents=True)
    settings = Settings(state_dir=folder, port=free_port(), metrics_port=free_port(), host_simulated=True)
    ensure_certificate(settings)
    this_machine(settings).ensure_wireguard_key()
    ensure_claim_code(settings)
    open_activity(folder).close()
    return settings


def facts_of(settings: Settings) -> Facts:
    with open_cellule(settings.state_dir) as db, open_activity(settings.state_dir) as activity:
        return Facts(
            names=tuple(row[0] for row in db.execute("SELECT name FROM accounts ORDER BY name")),
            keys=tuple(row[0] for row in db.execute("SELECT key_hash FROM api_keys ORDER BY key_hash")),
            ledger_lines=activity.execute("SELECT count(*) FROM ledger").fetchone()[0],
            tls_key=(settings.secrets_dir / "tls.key").read_bytes(),
            tunnel_key=this_machine(settings).ensure_wireguard_key(),
        )


def confirmed_key(settings: Settings) -> BackupKey:
    """The owner has noted the key and typed it back."""
    key = backup_key(settings)
    assert key
    confirm_backup_key(settings, key.text)
    return key


@pytest.fixture
def box(tmp_path: Path) -> Settings:
    """A claimed box that has worked."""
    settings = new_box(tmp_path / "box")
    with open_cellule(settings.state_dir) as db:
        ana = create_account(db, "ana", PASSWORD, Role.ADMIN, "fr")
        create_account(db, "bob", PASSWORD, Role.USER, "en")
        create_api_key(db, "tickets", account_id=ana.id)
        start_session(db, ana.id)
    with open_activity(settings.state_dir) as activity:
        for _ in range(20):
            add_line(activity, 0.0)
    return settings


@pytest.fixture
def blank(tmp_path: Path) -> Settings:
    """Another box, new, unclaimed, with keys of its own."""
    return new_box(tmp_path / "blank")


@pytest.fixture
def key(box: Settings) -> BackupKey:
    """The box's backup key, confirmed."""
    return confirmed_key(box)
