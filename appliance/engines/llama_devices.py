"""The devices that llama.cpp lists: those of every backend whose library lies beside it and finds its driver.

The functions are those of ggml-backend.h. A device that its process may not open is not listed.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.llama import function
from appliance.engines.served import ModelUnusable
from appliance.errors import Refused

PROCESSOR = "CPU"
_METAL = ("metal", "mtl")
"""How Metal calls itself became shorter in 2025; the other backends' names are those of hwprofiles."""
_GRAPHICS, _INTEGRATED_GRAPHICS = 1, 2  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU
_pointer, _text, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t


class DeviceUnknown(Refused):
    code = "device_unknown"


@dataclass(frozen=True)
class Device:
    """A device of ggml: this machine's, or one on a part."""

    pointer: int
    name: str
    description: str
    backend: str
    """As it calls itself."""
    type: int
    """GGML_BACKEND_DEVICE_TYPE_…"""

    @property
    def title(self) -> str:
        """A line for a person: "CUDA0: NVIDIA RTX A6000"."""
        title = f"{self.name}: {self.description}"
        return "".join(sign for sign in title if sign.isprintable())[:120]

    def memory_bytes(self) -> tuple[int, int]:
        """Free and in all, as its driver says."""
        free, total = _size(), _size()
        ask = function("ggml_backend_dev_memory", None, _pointer, _pointer, _pointer)
        ask(self.pointer, ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value


def device_at(pointer: int) -> Device:
    """What llama.cpp says of a device that it has given."""
    backend = function("ggml_backend_dev_backend_reg", _pointer, _pointer)(pointer)
    return Device(
        pointer,
        name=function("ggml_backend_dev_name", _text, _pointer)(pointer).decode(),
        description=function("ggml_backend_dev_description", _text, _pointer)(pointer).decode(),
        backend=function("ggml_backend_reg_name", _text, _pointer)(backend).decode(),
        type=function("ggml_backend_dev_type", ctypes.c_int, _pointer)(pointer),
    )


def own_devices() -> tuple[Device, ...]:
    """This machine's, the processor among them."""
    count = function("ggml_backend_dev_count", _size)()
    get = function("ggml_backend_dev_get", _pointer, _size)
    return tuple(device_at(get(number)) for number in range(count))


def own_device(name: str) -> Device:
    """A device of this machine: CPU, CUDA0, Vulkan0 … Raises DeviceUnknown, which names those there are."""
    listed = own_devices()
    for device in listed:
        if device.name == name:
            return device
    names = ", ".join(device.name for device in listed)
    raise DeviceUnknown(f"There is no device {name[:60]!r} here.", next_step=f"There is: {names}.")


def devices_beside_processor(asked: str, listed: Sequence[Device]) -> tuple[Device, ...]:
    """Those that compute a model which was asked for on cuda, rocm, vulkan, metal …; none for the CPU. Pure.

    Graphics that share the processor's memory are taken only where there is no card. Raises ModelUnusable
    where llama.cpp lists none: the processor would compute instead, slowly, and nobody would know.
    """
    if asked.upper() == PROCESSOR:
        return ()
    names = _METAL if asked.lower() in _METAL else (asked.lower(),)
    of_backend = [device for device in listed if device.backend.lower() in names]
    for kind in (_GRAPHICS, _INTEGRATED_GRAPHICS):
        if found := tuple(device for device in of_backend if device.type == kind):
            return found
    raise ModelUnusable(
        f"llama.cpp finds no {asked[:20]} device here, only {', '.join(device.name for device in listed)}.",
        next_step="Check its driver and who may open it in /dev, or choose another device.",
    )
