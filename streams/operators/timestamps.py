"""The event time of a stream's events: consumes text as sent, produces aware UTC within bounds."""

from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.config import Cleaning
from schemas.errors import Reason, Rejected
from schemas.event_time import EPOCH, parse

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class Timestamps:
    """The event time of one stream's events, judged against `now` of the batch. Keeps no state."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._config = cleaning
        self._oldest = self._late = self._newest = _EARLIEST

    def at(self, now: datetime) -> None:
        """Set the moment by which the next events are judged."""
        self._oldest = _shifted(now, -self._config.max_age)
        self._late = _shifted(now, -self._config.late_after)
        self._newest = _shifted(now, self._config.max_future)

    def resolve(self, text: str, arrival_ms: int) -> tuple[datetime, bool, bool]:
        """Return the event's time, whether it is late, and whether it was missing (then: its arrival).

        Raises:
            Rejected: unreadable, too old, in the future, or missing where the stream demands one.
        """
        if not text:
            return self._arrival(arrival_ms), False, True
        try:
            moment = parse(text)
        except (ValueError, OverflowError) as error:
            message = (
                f"{text[:80]!r} is no time: {error}; ISO 8601 such as 2026-03-14T09:26:53Z is understood"
            )
            raise Rejected(Reason.BAD_TIMESTAMP, message, "time") from error
        if moment >= self._late:
            if moment > self._newest:
                message = f"{moment.isoformat()} is more than {self._config.max_future:g} s ahead"
                raise Rejected(Reason.IN_THE_FUTURE, message, "time")
            return moment, False, False
        if moment < self._oldest:
            message = f"{moment.isoformat()} is more than {self._config.max_age:g} s ago"
            raise Rejected(Reason.TOO_OLD, message, "time")
        return moment, True, False

    def _arrival(self, arrival_ms: int) -> datetime:
        if self._config.missing_time == "reject":
            raise Rejected(Reason.BAD_TIMESTAMP, "`time` is missing; this stream demands one", "time")
        return EPOCH + timedelta(milliseconds=max(0, arrival_ms))


def _shifted(moment: datetime, seconds: float) -> datetime:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return _EARLIEST if seconds < 0 else _LATEST
