"""Quiet hours in `headrace.toml`: what people are told, and what is trained, waits until they end.

`"22:00-07:00"` is in UTC, from the first minute to before the last; an empty text has none. What is critical
does not wait.
"""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

QuietHours = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")]


def is_quiet(hours: str, now: datetime) -> bool:
    """Tell whether `now` (UTC) lies within the hours."""
    if not hours:
        return False
    begin, _, end = hours.partition("-")
    at = f"{now:%H:%M}"
    return begin <= at < end if begin <= end else at >= begin or at < end


def quiet_until(hours: str, now: datetime) -> datetime | None:
    """Return when the quiet hours that `now` (UTC) lies in end; None outside them."""
    if not is_quiet(hours, now):
        return None
    hour, minute = map(int, hours.partition("-")[2].split(":"))
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return end if end > now else end + timedelta(days=1)
