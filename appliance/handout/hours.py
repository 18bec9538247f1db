"""When models may travel, and how fast: the admin's choice, and what it means at a moment.

Office hours are those of the office's own clock, so summer time moves them as people expect. A hand-out
that meets their beginning pauses after the pieces on the way and goes on where it stopped.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from appliance.handout.contract import Bytes, HandoutOrders, Rate
from appliance.storage import Choice

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_MINUTES_OF_A_DAY = 24 * 60
GB = 1_000_000_000


class HandoutTime(StrEnum):
    """When models may travel to workers."""

    ALWAYS = "always"
    OUTSIDE_OFFICE_HOURS = "outside_office_hours"


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("must be a time zone like Europe/Berlin") from error
    return text


def _day(text: str) -> str:
    if text and _span(text) is None:
        raise ValueError("must be hours like 08:00-18:00, or empty for a day without office hours")
    return text


class HandoutChoice(Choice):
    """Rates in bytes per second, 0 for no cap."""

    when: HandoutTime = HandoutTime.ALWAYS
    timezone: Annotated[str, AfterValidator(_zone)] = "Etc/UTC"
    office_hours: Annotated[
        tuple[Annotated[str, AfterValidator(_day)], ...], Field(min_length=7, max_length=7)
    ] = ("08:00-18:00",) * 5 + ("", "")
    """Of Monday to Sunday."""
    box_bytes_per_second: Rate = 50_000_000
    """Of the box to all workers together; the rest of a gigabit is for people's answers."""
    receive_bytes_per_second: Rate = 50_000_000
    send_bytes_per_second: Rate = 25_000_000
    busy_bytes_per_second: Rate = 2_500_000
    """Of a worker, while somebody works at it."""
    keep_free_bytes: Bytes = 10 * GB
    """Of a worker's disk."""
    quota_bytes: Bytes = 0
    """Of all models on one worker; 0: what the disk allows."""


@dataclass(frozen=True)
class Permission:
    """`reason` is a sentence; `changes_in_seconds` is how long it holds at least."""

    is_given: bool
    reason: str
    changes_in_seconds: float


def handout_permission(choice: HandoutChoice, at: float) -> Permission:
    """Whether models may travel at the moment `at` (epoch seconds)."""
    if choice.when is HandoutTime.ALWAYS:
        return Permission(True, "Models are handed out at any time.", _MINUTES_OF_A_DAY * 60.0)
    local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(choice.timezone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    minute = local.hour * 60 + local.minute
    day = _DAYS[local.weekday()]
    hours = choice.office_hours[local.weekday()]
    begin, end = _span(hours) or (_MINUTES_OF_A_DAY, _MINUTES_OF_A_DAY)
    if begin <= minute < end:
        until = (midnight + timedelta(minutes=end)).timestamp()
        return Permission(False, f"Office hours of {day} are {hours}; models travel afterwards.", until - at)
    change = begin if minute < begin else _MINUTES_OF_A_DAY
    until = (midnight + timedelta(minutes=change)).timestamp()
    return Permission(True, "It is outside of office hours.", max(1.0, until - at))


def orders_of(choice: HandoutChoice, permission: Permission) -> HandoutOrders:
    """The orders that are the same for every worker."""
    return HandoutOrders(
        may_fetch=permission.is_given,
        reason="" if permission.is_given else permission.reason,
        receive_bytes_per_second=choice.receive_bytes_per_second,
        send_bytes_per_second=choice.send_bytes_per_second,
        busy_bytes_per_second=choice.busy_bytes_per_second,
        keep_free_bytes=choice.keep_free_bytes,
        quota_bytes=choice.quota_bytes,
    )


def _span(text: str) -> tuple[int, int] | None:
    """Minutes of the day at which they begin and end."""
    found = _HOURS.fullmatch(text)
    if found is None:
        return None
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    begin, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    return (begin, end) if begin < end <= _MINUTES_OF_A_DAY else None
