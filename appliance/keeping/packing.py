"""The whole box as one encrypted file, made while it runs, to be taken away by who asked for it."""

import re
import shutil
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from appliance.clock import Clock, now
from appliance.host import Host
from appliance.keeping.archive import write_archive
from appliance.keeping.identity import read_identity
from appliance.keeping.key import backup_recipient, fingerprint_of
from appliance.keeping.places import at_work, empty_folder
from appliance.keeping.snapshot import take_snapshot
from appliance.settings import Settings


@dataclass(frozen=True)
class PackedBox:
    """`content` is open for reading and lies nowhere any more: closed, it is gone."""

    name: str
    content: BinaryIO


def pack_box(settings: Settings, host: Host, *, clock: Clock = now) -> PackedBox:
    """Raises NoBackupKey, NotEnoughSpace, DatabaseDamaged, KeepingBusy, and what the broker refuses with."""
    recipient = backup_recipient(settings)
    box = re.sub(r"[^A-Za-z0-9-]", "", socket.gethostname()) or "box"
    made = datetime.fromtimestamp(clock()).astimezone()
    name = f"cellule-backup-{box}-{made:%Y%m%d-%H%M}-{fingerprint_of(recipient)}.age"
    with at_work(settings):
        snapshot, download = empty_folder(settings, "snapshot"), empty_folder(settings, "download")
        try:
            take_snapshot(settings, snapshot, from_host=read_identity(host, recipient), clock=clock)
            write_archive(snapshot, download / name, recipient)
            return PackedBox(name, (download / name).open("rb"))
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)
            shutil.rmtree(download, ignore_errors=True)
