"""Events that cost next to nothing to make: consumes sequence numbers, produces CloudEvents as bytes.

The id is the sequence number and the time is the moment at which the schedule has the event published, so
every row in ClickHouse says by itself how long it was under way.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from infra.bench.ingest.plan import STREAM
from infra.runtime.kafka.partitioner import partition_of
from schemas.raw import event_type
from schemas.record import Kind

SOURCES: Final = 32

_DATA: Final[dict[Kind, Callable[[int], bytes]]] = {
    Kind.SENSOR: lambda n: (
        b'{"values":{"temperature":%d.%02d,"humidity":%d.5,"pressure":10%02d.25,"vibration":0.%03d}}'
        % (18 + n % 9, n % 97, 40 + n % 23, n % 31, n % 811)
    ),
    Kind.API: lambda n: (
        b'{"method":"GET","path":"/api/v2/orders/%d/items","query":"page=%d&size=50","status":200,'
        b'"duration_ms":%d.5,"client_ip":"10.%d.%d.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64)"}'
        % (n % 7919, n % 13, 3 + n % 89, n % 251, n % 241)
    ),
    Kind.LOG: lambda n: (
        b'{"message":"2026-01-02 03:04:05 worker-%d took job %d of u%d@example.org from 10.0.%d.9 in %d ms",'
        b'"level":"info","logger":"jobs","host":"node-%d"}' % (n % 64, n, n % 1009, n % 251, n % 733, n % 16)
    ),
}


def source_of(sequence: int) -> bytes:
    """Return the source of an event, which is also its key."""
    return b"ingest-%02d" % (sequence % SOURCES)


def partitions(count: int) -> list[int]:
    """Return the partition of each source, by its number."""
    return [partition_of(source_of(number), count) for number in range(SOURCES)]


_SHIFTED: Final[dict[Kind, Callable[[int], bytes]]] = {
    Kind.SENSOR: lambda n: (
        b'{"values":{"temperature":%d.%02d,"humidity":%d.5,"pressure":10%02d.25,"vibration":0.%03d}}'
        % (29 + n % 9, n % 97, 40 + n % 23, n % 31, n % 811)
    ),
    Kind.API: lambda n: (
        b'{"method":"POST","path":"/a/<svg onload=alert(%d)>;--$(id)","query":"page=%d&size=50","status":403,'
        b'"duration_ms":%d.5,"client_ip":"10.%d.%d.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64)"}'
        % (n % 7919, n % 13, 3 + n % 89, n % 251, n % 241)
    ),
    Kind.LOG: lambda n: (
        b'{"message":"kernel panic (!!) in <%d>: stack overflow; $(reboot) ... [[ignored]]",'
        b'"level":"error","logger":"jobs","host":"node-%d"}' % (n, n % 16)
    ),
}
"""What the same sources send once they have drifted."""


class Maker:
    """Makes the events of one kind; source n belongs to stream n, counted over and over.

    `shift_from` has for each stream the sequence number from which on its events are drifted; none never are.
    """

    def __init__(
        self, kind: Kind, streams: Sequence[str] = (STREAM,), shift_from: Sequence[int] = ()
    ) -> None:
        self._steady, self._shifted = _DATA[kind], _SHIFTED[kind]
        self._shift_from = [
            shift_from[n % len(streams)] if shift_from else sys.maxsize for n in range(SOURCES)
        ]
        self._heads = [
            b'{"specversion":"1.0","type":"%b","datacontenttype":"application/json","stream":"%b","source":"%b",'
            % (event_type(kind).encode(), streams[number % len(streams)].encode(), source_of(number))
            for number in range(SOURCES)
        ]
        self._second = -1
        self._stamp = b""

    def make(self, sequence: int, at_us: int) -> bytes:
        """Return event number `sequence`, published at `at_us` (microseconds since 1970)."""
        second, micros = divmod(at_us, 1_000_000)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        number = sequence % SOURCES
        data = self._steady if sequence < self._shift_from[number] else self._shifted
        return b'%b"id":"%d","time":"%b.%06dZ","data":%b}' % (
            self._heads[number],
            sequence,
            self._stamp,
            micros,
            data(sequence),
        )
