"""What a box is bound to: the TPM that holds its disk's key, and with Secure Boot the vendor's signature."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.box import Box, in_tools
from tests.image.office import Office
from tests.image.visitor import Visitor
from tests.image.works import CLAIM_CODE, FIRST_VERSION, Works

RECOVERY_KEY = r"[a-z]{8}(?:-[a-z]{8}){7}"
ASKS = r"Recovery key, as it was shown at the claim: \(press TAB for no echo\)"
ESP_OFFSET_BYTES = 1024 * 1024
REFUSED_SECONDS = 60.0


@pytest.fixture
def box(office: Office, works: Works, tmp_path: Path) -> Iterator[Box]:
    """A box with a TPM, not switched on."""
    box = Box(office, tmp_path / "box", works.disk, tpm=True)
    yield box
    box.pull_the_cord()


def test_the_disk_opens_by_the_tpm_and_after_its_loss_by_the_recovery_key(box: Box) -> None:
    box.start()
    code = box.wait_for_console(CLAIM_CODE)[0]
    box.wait_for_console(r"Data +encrypted")
    with Visitor(box) as ada:
        ada.claim(code)
        shown = ada.submit("/setup/recovery-key", do="make")
        key = re.search(RECOVERY_KEY, shown.text)
        assert key, shown.text[:3000]

    box.press_power_button()
    since = len(box.screen)
    box.start()
    box.wait_for_console("cellule-demo answers", since=since)

    # another board: the TPM knows nothing of this disk
    box.press_power_button()
    shutil.rmtree(box.folder / "tpm")
    since = len(box.screen)
    box.start()
    box.answer(ASKS, "bbbbbbbb-cccccccc", since)
    again = since + box.wait_for_console("That key does not open the disk", since=since).start()
    box.answer(ASKS, key[0].upper(), again)
    box.wait_for_console("cellule-demo answers", since=since)
    box.wait_for_console("encrypted, bound to the TPM", since=since)
    with Visitor(box) as ada:
        ada.sign_in()

    # the next start needs nobody: the disk is bound to the TPM of the new board
    box.press_power_button()
    since = len(box.screen)
    box.start()
    box.wait_for_console("cellule-demo answers", since=since)
    assert "Recovery key" not in box.screen[since:]
    assert key[0] not in box.screen


@pytest.fixture
def enrolled(works: Works, tmp_path: Path) -> Path:
    """Firmware variables that trust the key which signed the image, and no other."""
    variables = tmp_path / "enrolled.fd"
    certificate = str(works.keys / "secureboot.pem")
    owner = "5b8ae0f2-7c1e-4b8e-9f0a-6f1f4a7f0c11"
    in_tools(
        "virt-fw-vars", "--input", "/usr/share/OVMF/OVMF_VARS_4M.fd", "--output", str(variables),
        "--set-pk", owner, certificate, "--add-kek", owner, certificate, "--add-db", owner, certificate,
        "--secure-boot",
        folders=(tmp_path, works.keys),
    )  # fmt: skip
    return variables


def test_with_secure_boot_the_signed_image_starts(
    office: Office, works: Works, enrolled: Path, tmp_path: Path
) -> None:
    box = Box(office, tmp_path / "box", works.disk, secure_boot_variables=enrolled, kernel_words="")
    box.start()
    try:
        box.wait_for_console(rf"{re.escape(FIRST_VERSION)}, slot a", 400)
    finally:
        box.pull_the_cord()


def test_with_secure_boot_an_unsigned_kernel_image_does_not(
    office: Office, works: Works, enrolled: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "unsigned.raw"
    subprocess.run(["cp", "--sparse=always", works.disk, disk], check=True)
    kernel = f"::EFI/Linux/cellule_{FIRST_VERSION}_a.efi"
    esp = f"{disk}@@{ESP_OFFSET_BYTES}"
    in_tools("mcopy", "-i", esp, kernel, str(tmp_path / "kernel.efi"), folders=(tmp_path,))
    in_tools("sbattach", "--remove", str(tmp_path / "kernel.efi"), folders=(tmp_path,))
    in_tools("mcopy", "-o", "-i", esp, str(tmp_path / "kernel.efi"), kernel, folders=(tmp_path,))
    box = Box(office, tmp_path / "box", disk, secure_boot_variables=enrolled)
    box.start()
    try:
        box.wait_for_console(r"(?i)(access denied|security violation)", REFUSED_SECONDS)
        assert "Cellule Appliance" not in box.screen
    finally:
        box.pull_the_cord()
