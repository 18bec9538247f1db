"""How a check of the verdict fails: what went wrong, and whether the release or the data is to blame."""

from enum import StrEnum


class Fault(StrEnum):
    """Whose fault it is decides what helps: another release, or a repair of the data."""

    RELEASE = "release"
    DATA = "data"


class CheckFailed(Exception):
    """Not yet, or never when `is_final`. The sentence is for a person."""

    def __init__(
        self, sentence: str, fault: Fault = Fault.RELEASE, *, next_step: str = "", is_final: bool = False
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fault = fault
        self.next_step = next_step
        self.is_final = is_final
