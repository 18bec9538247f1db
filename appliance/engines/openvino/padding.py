"""Which texts OpenVINO tokenizes together: each is filled up to the longest; a long one goes alone. Pure."""

from collections.abc import Sequence

_PADDED_BYTES = 1_000_000
"""One long text would make 2047 short ones as long: gigabytes."""


def tokenized_together(lengths_bytes: Sequence[int]) -> list[list[int]]:
    """The texts' places, those of about the same length together, the longest first."""
    left = sorted(range(len(lengths_bytes)), key=lambda place: -lengths_bytes[place])
    groups = []
    while left:
        most = max(1, _PADDED_BYTES // max(1, lengths_bytes[left[0]]))
        groups.append(left[:most])
        left = left[most:]
    return groups
