"""Decides which configured stream an event belongs to; consumes decoded events, produces a stream's name."""

from collections.abc import Mapping

from schemas.config import Stream
from schemas.errors import Reason, Rejected
from schemas.raw import RawEvent
from schemas.record import Kind


class Route:
    """The stream an event names, else the first stream of its kind in the file."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._kinds = {name: stream.kind for name, stream in streams.items()}
        self._defaults: dict[Kind, str] = {}
        for name, kind in self._kinds.items():
            self._defaults.setdefault(kind, name)

    def stream_of(self, event: RawEvent) -> str:
        """Return the stream's name.

        Raises:
            Rejected: the named stream does not exist or is of another kind, or none is of this kind.
        """
        name = event.stream
        if not name:
            name = self._defaults.get(event.kind, "")
            if not name:
                raise Rejected(
                    Reason.UNKNOWN_STREAM, f"no stream of kind {event.kind.value} is configured", "type"
                )
            return name
        kind = self._kinds.get(name)
        if kind is None:
            known = ", ".join(self._kinds)
            raise Rejected(
                Reason.UNKNOWN_STREAM, f"no stream is called {name[:80]!r}; there are: {known}", "stream"
            )
        if kind is not event.kind:
            message = f"stream {name!r} takes {kind.value} events, this is of kind {event.kind.value}"
            raise Rejected(Reason.UNKNOWN_STREAM, message, "stream")
        return name
