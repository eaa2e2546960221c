"""The check at the door: consumes an event as received, produces the decoded event or the reason to refuse it.

The cleaning stage checks all this again, since publishers may go straight to Kafka; here a publisher hears of
it at once.
"""

from schemas.config import Stream
from schemas.envelope import decode_event
from schemas.errors import Reason, Rejected
from schemas.raw import RawEvent
from schemas.record import Kind
from serving.gateway.bindings import Received


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
            raise Rejected(Reason.UNKNOWN_STREAM, self._no_stream(decoded), "stream")
        if len(event.value) > stream.clean.max_bytes:
            raise Rejected(
                Reason.OVERSIZED,
                f"{len(event.value)} bytes; an event of stream {name!r} has at most {stream.clean.max_bytes}",
            )
        return decoded

    def _no_stream(self, event: RawEvent) -> str:
        fitting = [name for name, stream in self._streams.items() if stream.kind is event.kind]
        known = ", ".join(fitting) or "none"
        if event.stream:
            return f"no stream {event.stream!r} takes {event.kind.value} events; those that do: {known}"
        return f"no stream takes {event.kind.value} events; define one in headrace.toml"
