"""What this box knows to be secret or somebody's name: taken out wherever it stands."""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from appliance.private_file import write_once
from appliance.settings import Settings

SHORTEST_SECRET = 6
SHORTEST_NAME = 2
_SECRET_FIELD = re.compile(
    r"pass|secret|token|credential|cookie|private|access_?key|api_?key|recovery|key_id", re.IGNORECASE
)
_LONGEST_SECRET_FILE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Known:
    """`secrets` are texts; `names` maps each name to what it stands for (user, worker, box)."""

    secrets: frozenset[str]
    names: Mapping[str, str]


class Pseudonyms:
    """The same value gives the same word in every bundle of this box; only the box's key leads back."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, kind: str, value: str) -> str:
        digest = hmac.new(self._key, f"{kind}\0{value.casefold()}".encode(), hashlib.sha256).hexdigest()
        return f"[{kind}-{digest[:6]}]"


def box_pseudonyms(settings: Settings) -> Pseudonyms:
    """With the key of this box, made at the first call."""
    return Pseudonyms(write_once(settings.secrets_dir / "pseudonym-key", secrets.token_bytes(32)))


def known_of(settings: Settings, db: Database) -> Known:
    """Every file of the secrets folder, every secret field of a choice, and the names of people and PCs."""
    found = {*_of_files(settings.secrets_dir), *_of_choices(db)}
    names = {row[0]: "user" for row in db.execute("SELECT name FROM accounts")}
    names |= {row[0]: "worker" for row in db.execute("SELECT name FROM workers")}
    names |= {row[0]: "label" for row in db.execute("SELECT label FROM invitations")}
    names |= {row[0]: "label" for row in db.execute("SELECT name FROM api_keys")}
    return Known(
        frozenset(text for text in found if len(text) >= SHORTEST_SECRET),
        {name: kind for name, kind in names.items() if len(name) >= SHORTEST_NAME},
    )


def _of_files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if not path.is_file() or path.stat().st_size > _LONGEST_SECRET_FILE_BYTES:
            continue
        raw = path.read_bytes()
        yield from (raw.hex(), base64.b64encode(raw).decode().rstrip("="))
        if raw.isascii():
            yield from _lines(raw.decode())


def _lines(text: str) -> Iterator[str]:
    """Without the frame of a PEM block, and without a comment's mark: those are in harmless texts as well."""
    for line in text.splitlines():
        if not line.startswith("-----"):
            yield line.strip("# \t")


def _of_choices(db: Database) -> Iterator[str]:
    for (value,) in db.execute("SELECT value FROM choices"):
        yield from _secret_fields(json.loads(value))


def _secret_fields(value: Any, is_secret: bool = False) -> Iterator[str]:  # noqa: ANN401 JSON
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _secret_fields(inner, is_secret or bool(_SECRET_FIELD.search(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from _secret_fields(inner, is_secret)
    elif is_secret and isinstance(value, str):
        yield value
