"""How large a variant will be, before anybody has its files: as its entry says, else by its parameters. Pure.

Bits of a weight are those of Llama 3.1 8B in the README of llama.cpp's quantize tool, which mixes formats in
one file; for MXFP4 the format's own (OCP Microscaling: 4 bits, and a scale of 8 for 32 weights); for OpenVINO
4 or 8 bits with the scales of its groups.
"""

from dataclasses import dataclass

from appliance.models.entry import Entry, Variant

_BITS_PER_WEIGHT = {
    "Q3_K_M": 4.00, "Q4_0": 4.66, "Q4_K_S": 4.67, "IQ4_NL": 4.68, "Q4_K_M": 4.89, "Q4_K_L": 5.0,
    "Q5_K_M": 5.70, "Q6_K": 6.56, "Q8_0": 8.50, "MXFP4": 4.25, "int4": 4.5, "int8": 8.1,
    "F16": 16.0, "FP16": 16.0, "bf16": 16.0,
}  # fmt: skip


@dataclass(frozen=True)
class ExpectedSize:
    """Bytes of weights; `is_estimated` where nobody says it and we computed it."""

    weights_bytes: int
    is_estimated: bool


def expected_size(entry: Entry, variant: Variant) -> ExpectedSize | None:
    """None where neither the entry nor the name of the quantisation tells."""
    if variant.approximate_gb:
        return ExpectedSize(int(variant.approximate_gb * 10**9), is_estimated=False)
    bits = _BITS_PER_WEIGHT.get(variant.quantisation)
    return ExpectedSize(int(entry.parameters * 10**9 * bits / 8), is_estimated=True) if bits else None
