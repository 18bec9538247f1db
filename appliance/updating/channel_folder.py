"""The vendor's side of a channel: a folder that any web server can offer, and how it is signed.

metadata/ N.root.json, N.targets.json, N.snapshot.json, timestamp.json        targets/ the bundles

What is published is never overwritten: new metadata gets the next number, and timestamp.json, which leads
to all of it, is replaced last and in one step. So a box that reads meanwhile, or a power cut, sees the old
channel or the new one.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from appliance.errors import Refused
from appliance.updating.release import BUNDLE_NAME, Description
from appliance.updating.vendor_keys import FIRST_ROOT, ROLES, KeysExist, key_path, make_key, read_key

VALID_DAYS = {"root": 730, "targets": 365, "snapshot": 30, "timestamp": 14}
"""From signing. The quick ones are renewed by `refresh`, from a timer, at least once a week."""


class AlreadyPublished(Refused):
    """A version is published once: boxes may have it."""

    code = "already_published"


class NotPublished(Refused):
    """The channel has no such release, or there is no channel."""

    code = "not_published"


def make_keys(folder: Path, *, at: float) -> None:
    """New keys for all roles, and the first root metadata, signed. Raises KeysExist before anything is
    made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.glob("*.pem")):
        raise KeysExist(f"There are keys in {folder}.", next_step="Choose another folder.")
    signers = {role: make_key(key_path(folder, role)) for role in ROLES}
    root = Root(version=1, expires=_expiry("root", at), consistent_snapshot=True)
    for role, signer in signers.items():
        root.add_key(signer.public_key, role)
    _write(folder / FIRST_ROOT, _signed(root, signers["root"]))


class ChannelFolder:
    """A channel with the keys that sign it; `at` is when it is signed, epoch seconds."""

    def __init__(self, folder: Path, keys: Path, *, at: float) -> None:
        self._metadata, self._targets, self._keys, self._at = (
            folder / "metadata",
            folder / "targets",
            keys,
            at,
        )
        self._metadata.mkdir(parents=True, exist_ok=True)
        self._targets.mkdir(exist_ok=True)
        if not list(self._metadata.glob("*.root.json")):
            self._begin()

    def add(self, description: Description, bundle: Path) -> None:
        """Publishes a bundle. Raises AlreadyPublished, KeyMissing."""
        if not BUNDLE_NAME.fullmatch(bundle.name):
            raise Refused(f"{bundle.name} is not named like cellule-1.4.2.raucb.")
        if bundle.name in self._current_targets().targets:
            raise AlreadyPublished(
                f"{bundle.name} is published.", next_step="Give the release a new version."
            )
        place = self._targets / bundle.name
        if bundle.resolve() != place.resolve():
            _replace(place, lambda draft: shutil.copyfile(bundle, draft))
        described = TargetFile.from_file(bundle.name, str(place), ["sha256"])
        described.unrecognized_fields["custom"] = description.model_dump(mode="json", exclude_none=True)
        self._change_targets(lambda targets: targets.targets.update({bundle.name: described}))

    def withdraw(self, version: str) -> None:
        """Takes a release out; boxes that don't have it yet never get it. Raises NotPublished."""
        names = [
            name
            for name, file in self._current_targets().targets.items()
            if file.custom and file.custom["version"] == version
        ]
        if not names:
            raise NotPublished(f"The channel has no release {version}.")
        self._change_targets(lambda targets: [targets.targets.pop(name) for name in names])
        for name in names:
            (self._targets / name).unlink(missing_ok=True)

    def refresh(self, roles: tuple[str, ...] = ("snapshot", "timestamp")) -> None:
        """Signs these roles anew, with a new expiry date."""
        if "root" in roles:
            self._publish_root(self._root(), [read_key(self._keys, "root")])
        if "targets" in roles:
            self._change_targets(lambda targets: None)
        elif "snapshot" in roles:
            self._publish_snapshot(self._current_targets().version)
        elif "timestamp" in roles:
            self._publish_timestamp(self._timestamp().snapshot_meta.version)

    def rotate(self, role: str) -> None:
        """Replaces the key of a role; boxes learn the new one from a new root, signed by the root key(s)."""
        new_file, root = key_path(self._keys, f"{role}.new"), self._root()
        if not self._is_valid(new_file, role, root):
            new_file.unlink(missing_ok=True)
            old_root, new = read_key(self._keys, "root"), make_key(new_file)
            for key_id in list(root.roles[role].keyids):
                root.revoke_key(key_id, role)
            root.add_key(new.public_key, role)
            # a new root key signs beside the old one: boxes believe the new one because the old one says so
            self._publish_root(root, [old_root, new] if role == "root" else [old_root])
        new_file.replace(key_path(self._keys, role))
        if role != "root":
            # what the old key signed counts no more
            self.refresh(("targets",) if role == "targets" else ("snapshot",))

    def _is_valid(self, new_file: Path, role: str, root: Root) -> bool:
        """Whether an earlier `rotate` was cut off after it had published this key: it must not be lost."""
        return (
            new_file.exists()
            and read_key(self._keys, f"{role}.new").public_key.keyid in root.roles[role].keyids
        )

    def _begin(self) -> None:
        first = self._keys / FIRST_ROOT
        if not first.exists():
            raise NotPublished(f"There is no {first}.", next_step="Make keys first: --new-keys FOLDER.")
        root = Metadata[Root].from_file(str(first))
        empty = Targets(version=1, expires=_expiry("targets", self._at))
        _write(self._metadata / "1.targets.json", _signed(empty, read_key(self._keys, "targets")))
        self._publish_snapshot(1)
        _write(self._metadata / f"{root.signed.version}.root.json", first.read_bytes())

    def _root(self) -> Root:
        return Metadata[Root].from_file(str(self._metadata / f"{self._newest('root')}.root.json")).signed

    def _timestamp(self) -> Timestamp:
        return Metadata[Timestamp].from_file(str(self._metadata / "timestamp.json")).signed

    def _current_targets(self) -> Targets:
        snapshot = self._metadata / f"{self._timestamp().snapshot_meta.version}.snapshot.json"
        version = Metadata[Snapshot].from_file(str(snapshot)).signed.meta["targets.json"].version
        return Metadata[Targets].from_file(str(self._metadata / f"{version}.targets.json")).signed

    def _change_targets(self, change: Callable[[Targets], Any]) -> None:
        targets = self._current_targets()
        change(targets)
        targets.version, targets.expires = self._newest("targets") + 1, _expiry("targets", self._at)
        signer = read_key(self._keys, "targets")
        _write(self._metadata / f"{targets.version}.targets.json", _signed(targets, signer))
        self._publish_snapshot(targets.version)

    def _publish_root(self, root: Root, signers: list[CryptoSigner]) -> None:
        root.version, root.expires = root.version + 1, _expiry("root", self._at)
        content = _signed(root, *signers)
        _write(self._metadata / f"{root.version}.root.json", content)
        _write(self._keys / FIRST_ROOT, content)

    def _publish_snapshot(self, targets_version: int) -> None:
        snapshot = Snapshot(self._newest("snapshot") + 1, expires=_expiry("snapshot", self._at))
        snapshot.meta["targets.json"] = self._file_of("targets", targets_version)
        _write(
            self._metadata / f"{snapshot.version}.snapshot.json",
            _signed(snapshot, read_key(self._keys, "snapshot")),
        )
        self._publish_timestamp(snapshot.version)

    def _publish_timestamp(self, snapshot_version: int) -> None:
        former = self._timestamp().version if (self._metadata / "timestamp.json").exists() else 0
        timestamp = Timestamp(
            former + 1,
            expires=_expiry("timestamp", self._at),
            snapshot_meta=self._file_of("snapshot", snapshot_version),
        )
        _write(self._metadata / "timestamp.json", _signed(timestamp, read_key(self._keys, "timestamp")))

    def _file_of(self, role: str, version: int) -> MetaFile:
        content = (self._metadata / f"{version}.{role}.json").read_bytes()
        return MetaFile.from_data(version, content, ["sha256"])

    def _newest(self, role: str) -> int:
        names = self._metadata.glob(f"*.{role}.json")
        return max((int(path.name.split(".")[0]) for path in names), default=0)


def _expiry(role: str, at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(microsecond=0) + timedelta(days=VALID_DAYS[role])


def _signed(what: Root | Targets | Snapshot | Timestamp, *signers: CryptoSigner) -> bytes:
    metadata: Metadata[Any] = Metadata(what)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _write(path: Path, content: bytes) -> None:
    _replace(path, lambda draft: draft.write_bytes(content))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes beside `path` and takes its place once all of it has reached the disk; readable for the web
    server.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write(draft)
    draft.chmod(0o644)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
