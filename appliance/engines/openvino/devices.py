"""Which device a model runs on, and which of OpenVINO's settings it gets: checked before anything is loaded.

A setting is a property of the device, by OpenVINO's own name, or one of the scheduler's; both come from a
hwprofile. What nobody knows is refused: a typo would cost speed in silence.
"""

from dataclasses import dataclass

from appliance.engines.openvino.library import openvino
from appliance.engines.options import EngineOptions
from appliance.engines.served import ModelUnusable, SettingUnknown
from appliance.hardware.profile import Setting

SCHEDULER_SETTINGS = frozenset({"max_num_batched_tokens", "enable_prefix_caching", "dynamic_split_fuse"})
"""Of genai.SchedulerConfig."""
NPU_SETTINGS = frozenset({"MAX_PROMPT_LEN", "MIN_RESPONSE_LEN", "PREFILL_HINT", "GENERATE_HINT", "CACHE_DIR"})
"""Of genai.LLMPipeline on an NPU, beside the plugin's own NPU_… and NPUW_…, which it checks itself."""
_EVERYWHERE = frozenset({"CACHE_DIR", "ATTENTION_BACKEND"})


@dataclass(frozen=True)
class DeviceSettings:
    """What goes to the scheduler, and what to the device."""

    scheduler: dict[str, Setting]
    properties: dict[str, Setting]


def is_npu(device: str) -> bool:
    return device.partition(".")[0] == "NPU"


def check_device(options: EngineOptions) -> None:
    """Raises ModelUnusable, with the devices that there are, where OpenVINO lists no such one."""
    listed = openvino.Core().available_devices
    wanted = options.device
    if is_npu(wanted) and "NPUW_DEVICES" in options.settings:
        wanted = str(options.settings["NPUW_DEVICES"])  # the NPU's way of computing, on other devices
    for device in wanted.split(","):
        if not any(device in (one, one.partition(".")[0]) for one in listed):
            raise ModelUnusable(
                f"OpenVINO lists no device {device} here, only {', '.join(listed) or 'none'}.",
                next_step="Check its driver, or choose another device.",
            )


def device_settings(options: EngineOptions) -> DeviceSettings:
    """Raises SettingUnknown."""
    scheduler = {name: value for name, value in options.settings.items() if name in SCHEDULER_SETTINGS}
    properties = {name: value for name, value in options.settings.items() if name not in scheduler}
    if is_npu(options.device):
        known, unknown = NPU_SETTINGS, [*scheduler]
        unknown += [
            name for name in properties if name not in known and not name.startswith(("NPU_", "NPUW_"))
        ]
    else:
        supported = openvino.Core().get_property(options.device, "SUPPORTED_PROPERTIES")
        known = frozenset(supported) | _EVERYWHERE
        unknown = [name for name in properties if name not in known]
    if unknown:
        raise SettingUnknown(
            f"OpenVINO has no setting {unknown[0]!r} on {options.device}.",
            next_step="Correct the hardware profile.",
        )
    if options.device == "CPU":
        # an employee's PC: two engines pinned to the same cores would wait for each other
        properties = {"ENABLE_CPU_PINNING": False, **properties}
        if options.threads:
            properties["INFERENCE_NUM_THREADS"] = options.threads
    return DeviceSettings(scheduler, properties)
