"""The check at the door: an event as received in, the decoded event or the reason to refuse it out.

The cleaning stage checks all this again, since publishers may go straight to Kafka; here a publisher hears of
it at once.
"""

from schemas.config import Stream
from schemas.envelope import decode_event
from schemas.errors import Reason, Rejected
from schemas.event_time import parse
from schemas.raw import RawEvent
from schemas.route import Route
from serving.gateway.bindings import Received


class Judge:
    """Judges events by their contract and by the streams that are configured."""

    def __init__(self, streams: dict[str, Stream]) -> None:
        self._streams = streams
        self._route = Route(streams)
        self._max_bytes = max((stream.clean.max_bytes for stream in streams.values()), default=256 * 1024)

    def judge(self, event: Received) -> RawEvent:
        """Return the decoded event.

        Raises:
            Rejected: with the reason, the field and what would be right.
        """
        decoded = decode_event(event.value, event.headers, max_bytes=self._max_bytes)
        name = self._route.stream_of(decoded)
        rules = self._streams[name].clean
        if len(event.value) > rules.max_bytes:
            message = f"{len(event.value)} bytes; an event of {name!r} has at most {rules.max_bytes}"
            raise Rejected(Reason.OVERSIZED, message)
        if decoded.time:
            _check_time(decoded.time)
        elif rules.missing_time == "reject":
            raise Rejected(Reason.BAD_TIMESTAMP, "`time` is missing; this stream demands one", "time")
        return decoded


def _check_time(text: str) -> None:
    try:
        parse(text)
    except (ValueError, OverflowError) as error:
        message = f"{text[:80]!r} is no time: {error}; ISO 8601 such as 2026-03-14T09:26:53Z is understood"
        raise Rejected(Reason.BAD_TIMESTAMP, message, "time") from error
