"""What waits in a lane while its stream or stage is paused: record batches in, the same in their order out.

Queues of batches in Flink's keyed state, one a paused stream, and `STAGE` for what came while the whole stage
was paused. `queues` says of each queue where it begins and ends; `held` has the batches. An entry is written
once and removed once, so an incremental checkpoint holds what is new.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import msgspec
from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from streams.jobs.state import MapState

STAGE: Final = ""
"""The queue of what came while the stage was paused; streams have names."""

_encode: Final = msgspec.msgpack.Encoder().encode
_ENTRY: Final = msgspec.msgpack.Decoder(tuple[str, bytes, int])


class _Queue(NamedTuple):
    """Number of the first batch and of the next to come, and how many events all have."""

    first: int = 0
    end: int = 0
    events: int = 0


_QUEUE: Final = msgspec.msgpack.Decoder(_Queue)


class Batches(MapState[str], Protocol):
    """A map of which single entries are read."""

    def __getitem__(self, key: str) -> bytes: ...


class Held:
    """One lane's queues, on the maps that all lanes of a task share."""

    def __init__(self, queues: MapState[str], batches: Batches) -> None:
        self._queues = queues
        self._batches = batches
        self._known = {name: _QUEUE.decode(value) for name, value in queues.items()}

    @staticmethod
    def maps(context: RuntimeContext) -> "tuple[MapState[str], Batches]":
        """Open the maps, which Flink switches with the key."""
        packed = Types.PRIMITIVE_ARRAY(Types.BYTE())
        queues = MapStateDescriptor("queues", Types.STRING(), packed)
        batches = MapStateDescriptor("held", Types.STRING(), packed)
        return context.get_map_state(queues), context.get_map_state(batches)

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the queues that are not empty."""
        return iter(list(self._known))

    @property
    def events(self) -> int:
        """Return how many events wait."""
        return sum(queue.events for queue in self._known.values())

    def put(self, name: str, topic: str, batch: bytes, events: int) -> None:
        """Add a batch of a topic's records to the end of a queue."""
        queue = self._known.get(name, _Queue())
        self._batches.put(_place(name, queue.end), _encode((topic, batch, events)))
        self._set(name, queue._replace(end=queue.end + 1, events=queue.events + events))

    def take(self, name: str) -> tuple[str, bytes]:
        """Remove the first batch of a queue that is not empty, and return its topic and it."""
        queue = self._known[name]
        place = _place(name, queue.first)
        topic, batch, events = _ENTRY.decode(self._batches[place])
        self._batches.remove(place)
        self._set(name, queue._replace(first=queue.first + 1, events=queue.events - events))
        return topic, batch

    def _set(self, name: str, queue: _Queue) -> None:
        if queue.first < queue.end:
            self._known[name] = queue
            self._queues.put(name, _encode(queue))
        else:
            del self._known[name]
            self._queues.remove(name)


def _place(name: str, number: int) -> str:
    return f"{name}\n{number}"
