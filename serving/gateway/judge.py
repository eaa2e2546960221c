"""The check at the door: an event as received in, the decoded event or the reason to refuse it out.

The cleaning stage checks all this again, since publishers may go straight to Kafka; here a publisher hears of
it at once.
"""

from typing import TYPE_CHECKING

from schemas.config import Stream
from schemas.envelope import decode_event
from schemas.errors import Reason, Rejected
from schemas.raw import RawEvent
from serving.gateway.bindings import Received
from serving.gateway.times import is_time

if TYPE_CHECKING:
    from schemas.record import Kind


class Judge:
    """Judges events by their contract and by the streams that are configured."""

    def __init__(self, streams: dict[str, Stream]) -> None:
        self._streams = streams
        self._max_bytes = max((stream.clean.max_bytes for stream in streams.values()), default=256 * 1024)
        self._first: dict[Kind, str] = {}
        for name, stream in streams.items():
            self._first.setdefault(stream.kind, name)

    def judge(self, event: Received) -> RawEvent:
        """Return the decoded event.

        Raises:
            Rejected: with the reason, the field and what would be right.
        """
        decoded = decode_event(event.value, event.headers, max_bytes=self._max_bytes)
        name = decoded.stream or self._first.get(decoded.kind, "")
        stream = self._streams.get(name)
        if stream is None or stream.kind is not decoded.kind:
            raise Rejected(
                Reason.UNKNOWN_STREAM, self._no_stream(decoded), "stream" if decoded.stream else "type"
            )
        limit = stream.clean.max_bytes
        if len(event.value) > limit:
            raise Rejected(
                Reason.OVERSIZED, f"{len(event.value)} bytes; an event of {name!r} has at most {limit}"
            )
        if decoded.time and not is_time(decoded.time):
            message = f"{decoded.time[:80]!r} is no time; ISO 8601 such as 2026-03-14T09:26:53Z is understood"
            raise Rejected(Reason.BAD_TIMESTAMP, message, "time")
        if not decoded.time and stream.clean.missing_time == "reject":
            raise Rejected(Reason.BAD_TIMESTAMP, "`time` is missing; this stream demands one", "time")
        return decoded

    def _no_stream(self, event: RawEvent) -> str:
        fitting = [name for name, stream in self._streams.items() if stream.kind is event.kind]
        known = ", ".join(fitting) or "none"
        if event.stream:
            return f"no stream {event.stream!r} takes {event.kind.value} events; those that do: {known}"
        return f"no stream takes {event.kind.value} events; define one in headrace.toml"
