"""Whether the part of a driver that lies outside of the kernel is there: OpenVINO opens no device without it.

OpenVINO's own plugins come with every wheel and say nothing of it. For graphics Intel's OpenCL driver must be
registered where OpenCL's loader looks (cl_khr_icd), for an NPU its Level Zero driver must lie beside that
loader. Nothing is loaded. Elsewhere than on Linux both come with the kernel's driver.
"""

from pathlib import Path

_LIBRARY_FOLDERS = (
    "usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib",
    "usr/local/lib/x86_64-linux-gnu", "usr/local/lib64", "usr/local/lib",
)  # fmt: skip
_OPENCL_DRIVERS = "etc/OpenCL/vendors"
_OPENCL_DRIVER_OF_INTEL = "libigdrcl"


def has_user_mode_driver(backend: str, root: Path = Path("/")) -> bool:
    """Of OpenVINO's device `backend` ("gpu", "npu"); a processor needs none."""
    if backend == "gpu":
        return _has_library("libOpenCL.so.1", root) and _has_opencl_driver(root)
    if backend == "npu":
        return _has_library("libze_loader.so.1", root) and _has_library("libze_intel_npu.so.1", root)
    return True


def _has_library(name: str, root: Path) -> bool:
    return any((root / folder / name).exists() for folder in _LIBRARY_FOLDERS)


def _has_opencl_driver(root: Path) -> bool:
    """A file there names one library each, by its path or for the dynamic linker to find."""
    for file in sorted((root / _OPENCL_DRIVERS).glob("*.icd")):
        try:
            named = file.read_text(errors="replace").strip()
        except OSError:
            continue
        if not Path(named).name.startswith(_OPENCL_DRIVER_OF_INTEL):
            continue
        # a path that leads nowhere is what a removed package left
        if (root / named.lstrip("/")).exists() if "/" in named else _has_library(named, root):
            return True
    return False
