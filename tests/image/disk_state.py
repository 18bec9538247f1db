"""The disk of a running box as it is at one moment: what a power cut at that moment would leave.

The emulator goes on in a new file, and the one before it holds from then on exactly what the box had
written. (A real disk may lose what it still keeps in a cache of its own; the emulated one has no such cache.)
"""

from pathlib import Path

from tests.image.box import Box, Frozen, in_tools

ESP_OFFSET_MIB, ESP_MIB = 1, 256


def keep_state(box: Box) -> Path:
    """The file that holds the state; the box notices nothing."""
    state = box.overlay
    box.overlay = box.folder / f"disk-{len(list(box.folder.glob('disk*.qcow2')))}.qcow2"
    box.monitor(
        "blockdev-snapshot-sync", device="disk", format="qcow2", **{"snapshot-file": str(box.overlay)}
    )
    return state


def kernels_on(box: Box) -> set[str]:
    """The kernel images that the boot loader would find if the power went now."""
    return kernels_in(box, keep_state(box))


def kernels_in(box: Box | Frozen, state: Path) -> set[str]:
    """The names of the files in the boot partition's folder of kernel images."""
    head = box.folder / f"{state.stem}.head"
    in_tools(
        "qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=1M", f"count={ESP_OFFSET_MIB + ESP_MIB}",
        f"if={state}", f"of={head}", folders=box.folders,
    )  # fmt: skip
    listed = in_tools(
        "mdir", "-b", "-i", f"{head}@@{ESP_OFFSET_MIB}M", "::EFI/Linux", folders=(box.folder,)
    ).stdout
    head.unlink()
    return {Path(line).name for line in listed.splitlines() if not line.endswith("/")}


def copy_state(box: Box | Frozen, state: Path, folder: Path) -> None:
    """Makes the disk of another machine from it, in the machine's folder."""
    folder.mkdir()
    in_tools(
        "qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(state), str(folder / "disk.qcow2"),
        folders=(folder, *box.folders),
    )  # fmt: skip
