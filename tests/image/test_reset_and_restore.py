"""The end of a box and its return: backup, factory reset, nothing readable left, restore on the blank box.

Without a TPM, and on a disk that can neither discard nor write zeroes by itself, where only overwriting
helps. One box, told from top to bottom; the power goes in the middle of the overwriting.
"""

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.image.box import Box, in_tools
from tests.image.office import Office
from tests.image.visitor import Visitor
from tests.image.works import Works

CLAIM_CODE = r"\b(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}\b"
BACKUP_KEY = r"\b(?:[0-9A-Z]{4}-){7}[0-9A-Z]{4}\b"
PERSON = "quillimantha.obrexwell"
KEY_NAME = "Vraskadoon ticket desk"
PLANTED = (PERSON.encode(), KEY_NAME.encode())
NO_DISCARD = (
    *("-global", "virtio-blk-device.discard=off"),
    *("-global", "virtio-blk-device.write-zeroes=off"),
)
OVERWRITING = "all of its . GB of data are overwritten"
RESTART_SECONDS = 400.0


@pytest.fixture(scope="module")
def box(office: Office, works: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    box = Box(office, tmp_path_factory.mktemp("box"), works.disk, disk_gigabytes=3, extra=NO_DISCARD)
    box.start()
    yield box
    box.pull_the_cord()


def test_a_box_in_use_is_backed_up_reset_and_brought_back(box: Box) -> None:
    first_code = box.wait_for_console(CLAIM_CODE)[0]
    with Visitor(box) as ada:
        ada.claim(first_code)
        assert PERSON in ada.submit("/people", name=PERSON, role="user").text
        secret = ada.make_key(KEY_NAME)
        backup_key, backup = take_backup(ada)

    # what people wrote is on the disk, in the clear, or the search below would prove nothing
    box.press_power_button()
    assert found_on_disk(box) == set(PLANTED)

    since = len(box.screen)
    box.start()
    box.wait_for_console("cellule-demo answers", since=since)
    reset_at_the_console(box)
    box.wait_for_console(OVERWRITING, since=since)

    # the power goes in the middle: it begins again
    box.pull_the_cord()
    since = len(box.screen)
    box.start()
    box.wait_for_console(OVERWRITING, since=since)
    box.wait_for_console("Factory reset: 100 %", since=since)
    second_code = box.wait_for_console(CLAIM_CODE, since=since)[0]
    assert second_code != first_code

    box.press_power_button()
    assert found_on_disk(box) == set()

    since = len(box.screen)
    box.start()
    box.wait_for_console("cellule-demo answers", since=since)
    since = len(box.screen)
    with Visitor(box) as anybody:
        assert PERSON not in anybody.http.get("/sign-in").text
        restore_blank(anybody, second_code, backup_key, backup)
    # checked, swapped in by a restart
    box.wait_for_console("cellule-demo answers", RESTART_SECONDS, since=since)
    with Visitor(box) as ada:
        ada.sign_in()
        assert PERSON in ada.http.get("/people").text
        assert KEY_NAME in ada.http.get("/keys").text
        answer, _ = ada.ask(secret, "What is Cellule?")
    assert answer


def take_backup(ada: Visitor) -> tuple[str, bytes]:
    """The backup key, as the wizard shows it and has it typed back, and the file that the page gives."""
    key = re.search(BACKUP_KEY, ada.http.get("/setup/backup-key").text)
    assert key
    ada.submit("/setup/backup-key", typed=key[0])
    backup = ada.submit("/backups", "/backups/file")
    assert backup.headers["content-type"] == "application/octet-stream", backup.text[:2000]
    assert all(text not in backup.content for text in PLANTED)
    return key[0], backup.content


def reset_at_the_console(box: Box) -> None:
    since = len(box.screen)
    box.type("4")
    box.wait_for_console("type the name of the box, cellule", since=since)
    box.type("another name\r")
    box.wait_for_console("That is not the name of this box", since=since)
    box.type("cellule\r")


def restore_blank(anybody: Visitor, code: str, key: str, backup: bytes) -> None:
    """By the form that a box offers which nobody has claimed."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', anybody.http.get("/restore").text)
    assert token
    answer = anybody.http.post(
        "/restore",
        data={"csrf_token": token[1], "code": code, "backup_key": key},
        files={"file": ("backup.cellule", backup)},
        headers={"referer": f"{anybody.url}/restore"},
        timeout=120,
    )
    assert answer.status_code == httpx.codes.OK, answer.text[:3000]


def found_on_disk(box: Box) -> set[bytes]:
    """Which of the planted texts lie anywhere on the whole disk as the box reads it."""
    raw = box.folder / "disk.raw"
    in_tools(
        "qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(box.overlay), str(raw),
        folders=(box.folder, box.disk.parent),
    )  # fmt: skip
    try:
        return {text for text in PLANTED if is_in(raw, text)}
    finally:
        raw.unlink()


def is_in(path: Path, text: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start, end = 0, os.fstat(file.fileno()).st_size
        while start < end:
            # holes hold nothing
            try:
                data = os.lseek(file.fileno(), start, os.SEEK_DATA)
            except OSError:
                return False
            start = os.lseek(file.fileno(), data, os.SEEK_HOLE)
            if content.find(text, data, start) != -1:
                return True
    return False
