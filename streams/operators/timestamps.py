"""The event time of a stream's events: consumes text as sent, produces aware UTC within bounds."""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from schemas.event_time import EPOCH, parse

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_LATEST_MS: Final = 253_402_300_799_999  # of the year 9999

Remark = Literal["", "late", "missing", "replaced"]
"""What is to be said of an event's time: in most cases nothing."""


class Timestamps:
    """The event time of one stream's events, judged against `now` of the batch. Keeps no state."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._config = cleaning
        self._now = self._oldest = self._late = self._newest = _EARLIEST

    def at(self, now: datetime) -> None:
        """Set the moment by which the next events are judged."""
        self._now = now
        self._oldest = _shifted(now, -self._config.max_age)
        self._late = _shifted(now, -self._config.late_after)
        self._newest = _shifted(now, self._config.max_future)

    @property
    def on_time(self) -> tuple[datetime, datetime]:
        """Return the bounds between which a time is neither late nor in the future."""
        return self._late, self._newest

    def resolve(self, text: str, arrival_ms: int) -> tuple[datetime, Remark]:
        """Return the event's time, and whether it is late, was missing, or was replaced as out of bounds.

        A missing time, and one out of bounds where the stream says so, becomes that of the arrival.

        Raises:
            Rejected: unreadable, too old, in the future, or missing where the stream demands one.
        """
        if not text:
            if self._config.missing_time == "reject":
                raise Rejected(Reason.BAD_TIMESTAMP, "`time` is missing; this stream demands one", "time")
            return self._arrival(arrival_ms), "missing"
        try:
            moment = parse(text, self._now)
        except (ValueError, OverflowError) as error:
            message = (
                f"{text[:80]!r} is no time: {error}; ISO 8601 such as 2026-03-14T09:26:53Z is understood"
            )
            raise Rejected(Reason.BAD_TIMESTAMP, message, "time") from error
        if moment >= self._late:
            if moment > self._newest:
                return self._in_future(moment, arrival_ms)
            return moment, ""
        if moment < self._oldest:
            return self._too_old(moment, arrival_ms)
        return moment, "late"

    def _in_future(self, moment: datetime, arrival_ms: int) -> tuple[datetime, Remark]:
        if self._config.in_future == "arrival":
            return self._arrival(arrival_ms), "replaced"
        message = f"{moment.isoformat()} is more than {self._config.max_future:g} s ahead"
        raise Rejected(Reason.IN_THE_FUTURE, message, "time")

    def _too_old(self, moment: datetime, arrival_ms: int) -> tuple[datetime, Remark]:
        if self._config.too_old == "accept":
            return moment, "late"
        if self._config.too_old == "arrival":
            return self._arrival(arrival_ms), "replaced"
        message = f"{moment.isoformat()} is more than {self._config.max_age:g} s ago"
        raise Rejected(Reason.TOO_OLD, message, "time")

    def _arrival(self, arrival_ms: int) -> datetime:
        """Return when the record came; `now` where its own stamp, which a producer may set, is none."""
        if 0 < arrival_ms <= _LATEST_MS:
            arrival = EPOCH + timedelta(milliseconds=arrival_ms)
            if arrival <= self._newest:
                return arrival
        return self._now


def _shifted(moment: datetime, seconds: float) -> datetime:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return _EARLIEST if seconds < 0 else _LATEST
