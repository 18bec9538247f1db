"""The hours in which the box may install and restart by itself, as the clock on the wall shows them. Pure.

A window belongs to the day on which it begins, and may end on the next one. Where the clock is put forward,
the skipped hour is missing from it; where it is put back, the repeated hour counts twice: the box restarts
only while the clock on the wall says that it may.
"""

from datetime import datetime, time, timedelta
from enum import IntEnum
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, model_validator


class Weekday(IntEnum):
    """As `date.weekday` counts."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class Window(BaseModel):
    """`ends` at or before `begins` is on the next day; the same time means the whole day."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    days: frozenset[Weekday] = frozenset(Weekday)
    begins: time = time(2, 0)
    ends: time = time(5, 0)

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        if not self.days:
            raise ValueError("a window needs at least one day")
        if self.begins.tzinfo or self.ends.tzinfo:
            raise ValueError("the times of a window are those of the box's time zone")
        return self


def is_open(window: Window, at: float, zone: ZoneInfo) -> bool:
    """Whether the clock on the wall shows a time in the window at `at` (epoch seconds)."""
    wall = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
    for day in (wall.date(), wall.date() - timedelta(days=1)):
        begins = datetime.combine(day, window.begins)
        ends = datetime.combine(day, window.ends)
        if ends <= begins:
            ends += timedelta(days=1)
        if Weekday(day.weekday()) in window.days and begins <= wall < ends:
            return True
    return False


def opens_at(window: Window, at: float, zone: ZoneInfo) -> float:
    """Epoch seconds: `at` itself when it is open, else when it opens next."""
    if is_open(window, at, zone):
        return at
    today = datetime.fromtimestamp(at, zone).date()
    for days in range(9):
        # a beginning that the clock skips is read with the offset before the skip, and so lies after it
        begins = datetime.combine(today + timedelta(days=days), window.begins, zone).timestamp()
        if begins > at and is_open(window, begins, zone):
            return begins
    raise AssertionError("a window opens at least once in nine days, also when the clock skips one")
