"""What a stream's watch keeps in Flink's state: a snapshot, and the runs of records it took since.

A watch is megabytes of windows and references, too much to write with every batch. But what it does follows
from its records and the moments at which it took them; so these are written, one entry a run, and a snapshot
in their place once they are many. A restored watch takes the runs since again, and its alerts are dropped:
those were in the checkpoint's transaction. Only what a snapshot leaves out on purpose begins anew there: the
blocks of events that the watch of quality was filling.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from streams.drift.feed import WatchFeed
from streams.drift.watch import DriftWatch
from streams.jobs.packing import read
from streams.jobs.state import MapState

_SNAPSHOT_BYTES: Final = 4 * 1024 * 1024
_SNAPSHOT_RUNS: Final = 256
_KEPT: Final = "kept"
_encode: Final = msgspec.msgpack.Encoder().encode


class Run(NamedTuple):
    """Records of one partition, of one stream alone, as a record batch."""

    topic: str
    partition: int
    batch: bytes


_RUN: Final = msgspec.msgpack.Decoder(tuple[float, Run | None])


class _Snapshot(msgspec.Struct, array_like=True):
    """`config` tells whether the memory still fits the stream; `last` is the number of the last run in it."""

    config: str
    last: int
    watch: dict[str, Any]


_SNAPSHOT: Final = msgspec.msgpack.Decoder(_Snapshot)


class WatchState:
    """One stream's state, on the maps that all streams of a task share. `config` is its fingerprint."""

    def __init__(self, snapshot: MapState[str], runs: MapState[int], config: str) -> None:
        self._snapshot = snapshot
        self._runs = runs
        self._config = config
        self._last = 0
        self._since: list[int] = []
        self._bytes = 0

    @staticmethod
    def maps(context: RuntimeContext) -> "tuple[MapState[str], MapState[int]]":
        """Open the maps, which Flink switches with the key."""
        packed = Types.PRIMITIVE_ARRAY(Types.BYTE())
        snapshot = MapStateDescriptor("snapshot", Types.STRING(), packed)
        runs = MapStateDescriptor("runs", Types.LONG(), packed)
        return context.get_map_state(snapshot), context.get_map_state(runs)

    def restore(self, watch: DriftWatch, feed: WatchFeed) -> bool:
        """Bring a new watch to where the checkpoint was; False if there is no state that fits it."""
        kept = dict(self._snapshot.items()).get(_KEPT)
        if kept is None:
            return False
        snapshot = _SNAPSHOT.decode(kept)
        runs = sorted(self._runs.items())
        self._last = max([snapshot.last, *(number for number, _ in runs)])
        self._since = [number for number, _ in runs]
        if snapshot.config != self._config:
            return False
        if snapshot.watch:
            watch.restore(snapshot.watch)
        for number, run in runs:
            if number > snapshot.last:
                take(watch, feed, *_RUN.decode(run))
        return True

    def begin(self, watch: DriftWatch) -> None:
        """Note what a watch without state begins with."""
        self._keep(watch)

    def remember(self, watch: DriftWatch, now_s: float, run: Run | None) -> None:
        """Add a run that the watch has taken at `now_s`, or a tick."""
        self._last += 1
        self._runs.put(self._last, _encode((now_s, run)))
        self._since.append(self._last)
        self._bytes += len(run.batch) if run is not None else 0
        if len(self._since) >= _SNAPSHOT_RUNS or self._bytes >= _SNAPSHOT_BYTES:
            self._keep(watch)

    def _keep(self, watch: DriftWatch) -> None:
        """Write a snapshot in place of the runs."""
        self._snapshot.put(_KEPT, _encode(_Snapshot(self._config, self._last, watch.snapshot())))
        for number in self._since:
            self._runs.remove(number)
        self._since, self._bytes = [], 0


def take(watch: DriftWatch, feed: WatchFeed, now_s: float, run: Run | None) -> Sequence[Any]:
    """Let a watch take a run at a moment, or the tick of that moment; returns the alerts to write."""
    now = datetime.fromtimestamp(now_s, UTC)
    return watch.tick(now) if run is None else feed.take(read(*run), now)
