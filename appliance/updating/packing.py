"""A channel as one file, for boxes without internet: what `archive.unpack` takes apart. The vendor's side."""

import tarfile
from pathlib import Path

from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from appliance.updating.channel_folder import NotPublished
from appliance.updating.release import BUNDLE_NAME
from appliance.updating.version_order import place_of


def pack(channel: Path, file: Path, version: str | None = None) -> list[str]:
    """Writes the signed metadata and one release, the newest by default; returns the names of its bundles.

    timestamp.json is the last member: a file that was cut off lacks it. Raises NotPublished.
    """
    metadata = channel / "metadata"
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json")).signed
    snapshot_file = metadata / f"{timestamp.snapshot_meta.version}.snapshot.json"
    snapshot = Metadata[Snapshot].from_file(str(snapshot_file)).signed
    targets_file = metadata / f"{snapshot.meta['targets.json'].version}.targets.json"
    bundles = _bundles(Metadata[Targets].from_file(str(targets_file)).signed, version)
    names = [
        *(f"metadata/{path.name}" for path in sorted(metadata.glob("*.root.json"))),
        f"metadata/{targets_file.name}",
        f"metadata/{snapshot_file.name}",
        *(f"targets/{name}" for name in bundles),
        "metadata/timestamp.json",
    ]
    draft = file.with_name(f".{file.name}.part")
    with tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            tar.add(channel / name, name, filter=_anonymous)
    draft.replace(file)
    return bundles


def _bundles(targets: Targets, version: str | None) -> list[str]:
    versions = {
        name: str(file.custom["version"])
        for name, file in targets.targets.items()
        if BUNDLE_NAME.fullmatch(name) and file.custom
    }
    wanted = version or max(versions.values(), key=place_of, default="")
    found = [name for name, each in versions.items() if each == wanted]
    if not found:
        raise NotPublished(f"The channel has no release {version or 'at all'}.")
    return found


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
