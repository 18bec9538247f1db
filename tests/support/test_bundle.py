"""A bundle of a box that is full of secrets: none of them is in the tar that the vendor decrypts."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from sqlite_utils import Database

from appliance.boot import places
from appliance.claim import ensure_claim_code
from appliance.enrolment import create_invitation
from appliance.host.keys import ensure_private_key, private_text
from appliance.host.simulated import SimulatedHost
from appliance.keeping.key import make_backup_key
from appliance.people import Account, audit_lines, create_api_key, start_session
from appliance.settings import Settings
from appliance.support import (
    BundleState,
    collect_requested_bundle,
    discard_bundle,
    read_bundle_file,
    read_bundle_state,
    request_bundle,
    seal_bundle,
)
from appliance.support import bundle as bundles
from appliance.support.bundle import BundleBusy, BundleMissing
from appliance.support.redaction.disguises import views
from appliance.support.vendor import read_bundle
from tests.support.planted import DISGUISES, KINDS

LOGS = ("host", "core", "pool", "webadmin", "engine")


class Box:
    """A box whose every source was planted with secrets; `planted` are all of them."""

    def __init__(self, settings: Settings, db: Database, activity: Database, ana: Account) -> None:
        self.settings, self.db, self.activity, self.ana = settings, db, activity, ana
        self.host = SimulatedHost(settings.wireguard_key_path, settings.host_dir)
        self.planted = [*self._own_secrets()]
        for number, (kind, make) in enumerate(KINDS.items()):
            secret = make()
            self.planted.append(secret)
            self._plant(secret, list(DISGUISES)[number % len(DISGUISES)], kind)

    def _own_secrets(self) -> list[str]:
        settings, db = self.settings, self.db
        code = ensure_claim_code(settings.model_copy(update={"state_dir": settings.state_dir / "unclaimed"}))
        assert code
        (settings.secrets_dir / "claim-code").write_text(code)
        key = create_api_key(db, "Ticket system of Bob", account_id=self.ana.id)
        invitation = create_invitation(db, settings, "Reception desk", created_by=self.ana.id)
        tunnel = private_text(ensure_private_key(settings.wireguard_key_path))
        session = start_session(db, self.ana.id).token
        backup = make_backup_key()
        (settings.secrets_dir / "backup-key").write_text(f"{backup.text}\n")
        secrets = [code, key.secret, invitation.code, tunnel, session, backup.text]
        for secret in secrets:
            for log in LOGS:
                self._append(settings.state_dir / "log" / f"{log}.log", f"debug: {secret}")
        return [*secrets, "a-nas-password", "Ticket system of Bob", "Reception desk"]

    def _plant(self, secret: str, disguise: str, kind: str) -> None:
        """Into every source: each log, breadcrumbs, a choice, the state of a job."""
        hidden = DISGUISES[disguise](secret)
        for log in LOGS:
            self._append(
                self.settings.state_dir / "log" / f"{log}.log", f"plain {secret} and hidden {hidden}"
            )
        crumbs = places(self.settings).breadcrumbs / "000001-abc.jsonl"
        self._append(crumbs, json.dumps({"step": "start", "outcome": "failed", "log": f"said {secret}"}))
        choice = {"note": hidden, "nas_password": "a-nas-password", "more": [secret]}
        self.db.execute(
            "INSERT OR REPLACE INTO choices (subject, value, chosen_at) VALUES (?, ?, 1)",
            [f"choice_{kind}", json.dumps(choice)],
        )
        states = self.settings.run_dir / "jobs.json"
        state = {"began_at": 1, "seconds": 1, "failed": True, "said": hidden}
        former = json.loads(states.read_text()) if states.exists() else {}
        states.write_text(json.dumps({**former, kind: state}))

    @staticmethod
    def _append(path: Path, line: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{line}\n")

    def collect(self) -> str:
        return collect_requested_bundle(self.settings, self.db, self.activity, self.host)

    def make(self, *, hide_addresses: bool = False) -> None:
        request_bundle(self.settings, admin=self.ana, hide_addresses=hide_addresses)
        assert "is ready" in self.collect()


@pytest.fixture
def box(settings: Settings, db: Database, activity: Database, ana: Account) -> Box:
    return Box(settings, db, activity, ana)


def unpacked(tar: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {
            member.name: file.read().decode()
            for member in archive.getmembers()
            if (file := archive.extractfile(member))
        }


def core_of(secret: str) -> str:
    """Twelve characters from the middle."""
    plain = re.sub(r"-----[A-Z ]+-----|\s", "", secret).removeprefix("cellule_session=").partition("@")[0]
    return plain[len(plain) // 2 - 6 : len(plain) // 2 + 6]


def test_no_planted_secret_is_in_what_the_vendor_decrypts(box: Box, vendor: Path) -> None:
    box.make(hide_addresses=True)
    sealed = seal_bundle(box.settings)
    assert sealed.startswith(b"age-encryption.org/v1\n")
    files = unpacked(read_bundle(vendor, sealed))
    expected = {"machine", "settings", "choices", "jobs", "storage", "requests", "hardware", "packages"}
    assert {Path(name).stem for name in files} >= expected
    assert {name for name in files if name.endswith(".log")} >= {
        "cellule-support/logs/cellule-pool.log",
        "cellule-support/logs/cellule-web.log",
        "cellule-support/logs/cellule-core.log",
    }
    for name, text in files.items():
        seen = [re.sub(r"\s", "", view.text) for view in views(text)]
        for secret in box.planted:
            assert not any(core_of(secret) in each for each in seen), (secret, name)
    whole = "\n".join(files.values())
    assert box.ana.name not in re.findall(r"\w+", whole)


def test_neither_databases_nor_the_secrets_folder_are_in_it(box: Box, vendor: Path) -> None:
    box.activity.execute(
        "INSERT INTO ledger (at, request_id, endpoint, attempts, tokens_in, tokens_out, queue_seconds,"
        " duration_seconds, outcome, status)"
        " VALUES (1, 'req-1', '/v1/chat/completions', 1, 2, 3, 0, 1, 'ok', 200)"
    )
    box.make()
    files = unpacked(read_bundle(vendor, seal_bundle(box.settings)))
    assert not [name for name in files if name.endswith((".db", ".key", ".crt")) or "secrets" in name]
    requests = json.loads(files["cellule-support/requests.json"])
    assert requests == [{"endpoint": "/v1/chat/completions", "outcome": "ok", "status": 200, "requests": 1}]
    rows = json.loads(files["cellule-support/storage.json"])["activity.db"]["rows"]
    assert rows["ledger"] == 1


def test_the_preview_is_what_leaves(box: Box, vendor: Path) -> None:
    box.make()
    state = read_bundle_state(box.settings)
    files = unpacked(read_bundle(vendor, seal_bundle(box.settings)))
    assert {f"cellule-support/{file.path}" for file in state.files} == files.keys()
    for file in state.files:
        text = read_bundle_file(box.settings, file.path)
        assert text == files[f"cellule-support/{file.path}"]
        assert file.size_bytes == len(text.encode())
    assert state.removed["api-key"] >= len(LOGS)
    assert sum(state.removed.values()) > 50
    for wrong in ("../cellule.db", "/etc/passwd", "machine.json/../../../cellule.db", ""):
        with pytest.raises(BundleMissing):
            read_bundle_file(box.settings, wrong)
    assert [line.event for line in audit_lines(box.activity)] == ["admin:bundle:made"]


def test_one_at_a_time_and_gone_after_a_day(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    request_bundle(box.settings, admin=box.ana, hide_addresses=False)
    with pytest.raises(BundleBusy):
        request_bundle(box.settings, admin=box.ana, hide_addresses=False)
    with pytest.raises(BundleMissing):
        seal_bundle(box.settings)
    box.collect()
    assert read_bundle_state(box.settings).state is BundleState.READY
    assert box.collect() == ""
    later = read_bundle_state(box.settings).requested_at + bundles.KEPT_SECONDS + 1
    monkeypatch.setattr(bundles, "now", lambda: later)
    box.collect()
    assert read_bundle_state(box.settings).state is BundleState.NONE
    assert not (box.settings.state_dir / "support" / "files").exists()
    discard_bundle(box.settings)


def test_a_core_that_dies_while_collecting_tries_again_then_gives_up(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_bundle(box.settings, admin=box.ana, hide_addresses=False)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(bundles, "_write", die)
        for _ in range(bundles.TRIES):
            with pytest.raises(KeyboardInterrupt):
                box.collect()
            assert read_bundle_state(box.settings).state is BundleState.COLLECTING
    assert "could not" in box.collect()
    assert read_bundle_state(box.settings).state is BundleState.FAILED
    box.make()


def test_limits_cut_off_and_say_so(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "FILE_LIMIT_BYTES", 2000)
    monkeypatch.setattr(bundles, "BUNDLE_LIMIT_BYTES", 8000)
    box.make()
    state = read_bundle_state(box.settings)
    assert state.size_bytes < 8000 + 20 * 2500
    assert any(file.path.endswith("left-out.txt") for file in state.files)
    texts = [read_bundle_file(box.settings, file.path) for file in state.files]
    assert any(text.startswith("[the beginning was left out]") for text in texts)
