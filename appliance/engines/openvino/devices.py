"""Which device a model runs on, and which of OpenVINO's settings it gets: checked before anything is loaded.

A setting is a property of the device, by OpenVINO's own name, or one of the scheduler's; both come from a
hwprofile. What nobody knows is refused: a typo would cost speed in silence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.engines.openvino.library import genai, openvino
from appliance.engines.options import EngineOptions
from appliance.engines.served import ModelUnusable, SettingUnknown, SettingUnusable
from appliance.hardware.profile import Setting

SCHEDULER_SETTINGS = frozenset({"max_num_batched_tokens", "enable_prefix_caching", "dynamic_split_fuse"})
"""Of genai.SchedulerConfig."""
NPU_SETTINGS = frozenset({"MAX_PROMPT_LEN", "MIN_RESPONSE_LEN", "PREFILL_HINT", "GENERATE_HINT", "CACHE_DIR"})
"""Of genai.LLMPipeline on an NPU, beside the plugin's own NPU_… and NPUW_…, which it checks itself."""
DISCRETE_GPU = "GPU.discrete"
"""Our name: the first card with memory of its own. OpenVINO's "GPU" is the integrated one where there is one.

https://docs.openvino.ai/2024/openvino-workflow/running-inference/inference-devices-and-modes/gpu-device.html
"""
_EVERYWHERE = frozenset({"CACHE_DIR", "ATTENTION_BACKEND"})


@dataclass(frozen=True)
class DeviceSettings:
    """The device by OpenVINO's own name, what goes to it, and what to the scheduler."""

    device: str
    properties: dict[str, Setting]
    scheduler: dict[str, Setting]


def is_npu(device: str) -> bool:
    return device.partition(".")[0] == "NPU"


def listed_name(wanted: str, listed: Sequence[str], is_discrete: Callable[[str], bool]) -> str | None:
    """OpenVINO's own name of the wanted device; None where it lists no such one. Pure."""
    if wanted == DISCRETE_GPU:
        return next((one for one in listed if one.partition(".")[0] == "GPU" and is_discrete(one)), None)
    return wanted if any(wanted in (one, one.partition(".")[0]) for one in listed) else None


def _device_of(options: EngineOptions) -> str:
    """Raises ModelUnusable, with the devices that there are, where OpenVINO lists no such one."""
    core = openvino.Core()
    listed = core.available_devices

    def found(device: str) -> str:
        name = listed_name(device, listed, lambda one: _is_discrete(core.get_property(one, "DEVICE_TYPE")))
        if name is None:
            raise ModelUnusable(
                f"OpenVINO lists no device {device} here, only {', '.join(listed) or 'none'}.",
                next_step="Check its driver, or choose another device.",
            )
        return name

    if is_npu(options.device) and "NPUW_DEVICES" in options.settings:
        # the NPU's way of computing, on other devices
        for device in str(options.settings["NPUW_DEVICES"]).split(","):
            found(device)
        return options.device
    return found(options.device)


def _is_discrete(kind: object) -> bool:
    return bool(kind == openvino.properties.device.Type.DISCRETE)


def device_settings(options: EngineOptions) -> DeviceSettings:
    """Raises ModelUnusable where there is no such device, SettingUnknown, SettingUnusable."""
    device = _device_of(options)
    scheduler = {name: value for name, value in options.settings.items() if name in SCHEDULER_SETTINGS}
    properties = {name: value for name, value in options.settings.items() if name not in scheduler}
    if is_npu(options.device):
        known, unknown = NPU_SETTINGS, [*scheduler]
        unknown += [
            name for name in properties if name not in known and not name.startswith(("NPU_", "NPUW_"))
        ]
    else:
        supported = openvino.Core().get_property(device, "SUPPORTED_PROPERTIES")
        known = frozenset(supported) | _EVERYWHERE
        unknown = [name for name in properties if name not in known]
    if unknown:
        raise SettingUnknown(
            f"OpenVINO has no setting {unknown[0]!r} on {options.device}.",
            next_step="Correct the hardware profile.",
        )
    _try_scheduler(scheduler)
    if device == "CPU":
        # an employee's PC: two engines pinned to the same cores would wait for each other
        properties = {"ENABLE_CPU_PINNING": False, **properties}
        if options.threads:
            properties["INFERENCE_NUM_THREADS"] = options.threads
    return DeviceSettings(device, properties, scheduler)


def _try_scheduler(settings: dict[str, Setting]) -> None:
    """A value of another type ends GenAI's process later, which can't say so in a sentence."""
    for name, value in settings.items():
        try:
            setattr(genai.SchedulerConfig(), name, value)
        except TypeError:
            raise SettingUnusable(
                f"OpenVINO's setting {name!r} can't be {value!r}.", next_step="Correct the hardware profile."
            ) from None
