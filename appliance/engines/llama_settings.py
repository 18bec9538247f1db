"""On what llama.cpp computes a model and how, whatever the model is for: checked before anything is loaded.

A setting comes from a hwprofile. One that llama.cpp doesn't have here is refused, as is a value that it can't
take: a typo would cost speed in silence. On the processor nothing is laid on a card, even where there is one.
"""

import ctypes
from collections.abc import Collection, Sequence

import psutil

from appliance.engines.llama import Pointer
from appliance.engines.llama_devices import PROCESSOR, Device, devices_beside_processor, own_devices
from appliance.engines.options import EngineOptions
from appliance.engines.served import SettingUnknown, SettingUnusable

REPACK_SETTING = "repack"
"""False: the weights are computed as they lie in the file, and give the tokens that a split model gives."""
GPU_LAYERS_SETTING = "n_gpu_layers"
"""How many layers a device beside the processor takes; 999, and where it is left out: all."""
SETTINGS = frozenset({REPACK_SETTING, GPU_LAYERS_SETTING})
_ALL_LAYERS = 999


def check_settings(options: EngineOptions, known: Collection[str] = SETTINGS) -> None:
    """Raises SettingUnknown, SettingUnusable."""
    for name in options.settings:
        if name not in known:
            raise SettingUnknown(
                f"llama.cpp has no setting {name[:80]!r} here, only {', '.join(sorted(known))}.",
                next_step="Correct the hardware profile.",
            )
    layers = options.settings.get(GPU_LAYERS_SETTING, _ALL_LAYERS)
    # a card that takes no layer would be named and hardly used
    least = 0 if options.device.upper() == PROCESSOR else 1
    if type(layers) is not int or layers < least:
        raise _unusable(GPU_LAYERS_SETTING, f"a number of layers, at least {least}", layers)
    repacks = options.settings.get(REPACK_SETTING, True)
    if type(repacks) is not bool:
        raise _unusable(REPACK_SETTING, "true or false", repacks)


def chosen_devices(options: EngineOptions) -> tuple[Device, ...]:
    """Beside the processor. Raises ModelUnusable where llama.cpp lists none of the backend asked for."""
    return devices_beside_processor(options.device, own_devices())


def configure(options: EngineOptions, devices: Sequence[Device], parameters: Pointer) -> None:
    """Fills llama_model_params so that these compute, and the processor what they don't take."""
    # a list without any, where llama.cpp's own choice would be all cards
    pointers = (ctypes.c_void_p * (len(devices) + 1))(*(device.pointer for device in devices), None)
    parameters.devices = ctypes.cast(pointers, ctypes.c_void_p)
    parameters.n_gpu_layers = options.settings.get(GPU_LAYERS_SETTING, _ALL_LAYERS) if devices else 0
    parameters.use_extra_bufts = options.settings.get(REPACK_SETTING, True)


def threads(options: EngineOptions) -> int:
    """One for each physical core that this process may use, where none are told."""
    physical = psutil.cpu_count(logical=False) or 1
    return options.threads or min(physical, len(psutil.Process().cpu_affinity() or [1]))


def _unusable(name: str, wanted: str, given: object) -> SettingUnusable:
    return SettingUnusable(
        f"llama.cpp's setting {name} must be {wanted}, not {str(given)[:80]!r}.",
        next_step="Correct the hardware profile.",
    )
