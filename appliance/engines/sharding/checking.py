"""Before a split model is loaded: whether the parts are there, the same build, free, and large enough.

Everything that can be refused is refused here; llama.cpp itself would abort in the middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.engines.sharding.parts import PartAddress, PartUse
from appliance.engines.sharding.rpc import BUILD
from appliance.engines.sharding.sizes import Weights, affordable_kv_tokens, part_bytes
from appliance.engines.sharding.status import PartStatus, ask_part
from appliance.errors import Refused, TryAgain

ASK_TIMEOUT_SECONDS = 3.0


class PartTooSmall(Refused):
    """The part lends less than its layers take."""

    code = "part_too_small"


class PartOfOtherBuild(Refused):
    """Head and part must have the same llama.cpp: its protocol changes between versions."""

    code = "part_of_other_build"


class PartInUse(TryAgain):
    """Another head computes there; a part has one head at a time."""

    code = "part_in_use"
    http_status = 503


class LayersWrong(Refused):
    """The parts are given more layers than the model has."""

    code = "layers_wrong"


@dataclass(frozen=True)
class CheckedParts:
    """What the parts said, and how many tokens of cache they have room for."""

    statuses: Mapping[PartAddress, PartStatus]
    kv_tokens: int


def check_parts(
    parts: Sequence[PartUse], weights: Weights, *, least_kv_tokens: int, most_kv_tokens: int
) -> CheckedParts:
    """Asks every part. The cache is as large as all parts have room for, within the two bounds.

    Raises LayersWrong, PartSilent, PartOfOtherBuild, PartInUse, PartTooSmall.
    """
    given = sum(part.layers for part in parts)
    if given > weights.layers:
        raise LayersWrong(f"The parts are given {given} layers, but the model has {weights.layers}.")
    statuses = {part.address: ask_part(part.address, ASK_TIMEOUT_SECONDS) for part in parts}
    kv_tokens = most_kv_tokens
    first_layer = weights.layers - given
    for part in parts:
        status = statuses[part.address]
        _check_usable(part.address, status)
        _check_size(part, status, weights, first_layer, least_kv_tokens)
        affordable = affordable_kv_tokens(weights, first_layer, part.layers, status.free_bytes)
        kv_tokens = min(kv_tokens, affordable)
        first_layer += part.layers
    return CheckedParts(statuses, kv_tokens)


def _check_usable(address: PartAddress, status: PartStatus) -> None:
    if status.build != BUILD:
        raise PartOfOtherBuild(
            f"The part on {address} has llama.cpp {status.build}, this box {BUILD}.",
            next_step="Bring that worker up to date.",
        )
    if status.used_by:
        raise PartInUse(
            f"The part on {address} computes for {status.used_by}.",
            retry_after_seconds=10,
            next_step="Wait until that model has ended.",
        )


def _check_size(
    part: PartUse, status: PartStatus, weights: Weights, first_layer: int, kv_tokens: int
) -> None:
    needed = part_bytes(weights, first_layer, part.layers, kv_tokens)
    if needed <= status.free_bytes:
        return
    held = sum(weights.layer_bytes[first_layer : first_layer + part.layers])
    cache = kv_tokens * part.layers * weights.kv_bytes_per_layer_token
    raise PartTooSmall(
        f"The part on {part.address} lends {_mb(status.free_bytes)}, but its {part.layers} layers need "
        f"{_mb(needed)}: {_mb(held)} of weights, {_mb(cache)} for {kv_tokens} tokens of context and "
        f"{_mb(needed - held - cache)} while it computes.",
        next_step="Give that part fewer layers, lend more there, or use a shorter context.",
    )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
