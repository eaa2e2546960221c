"""What a lane keeps in Flink's state, checkpointed with offsets and outputs: consumes a pipeline's changes.

`log`      what was remembered, in the records of `dedupe.log`, one entry each; an entry goes once the longest
           window has passed. Entries are only added, so an incremental checkpoint holds what is new alone.
`recent`   the recent readings of each source of each stream; a batch writes those of the sources it had.
`windows`  the count windows of the streams that ask for them; a batch writes a stream's as a whole.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Protocol, TypeVar

import msgspec
from pyflink.common import Types
from pyflink.common.time import Time
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, StateTtlConfig

from streams.operators.history import History, Remembered
from streams.operators.pipeline import CleanPipeline

_AT_ONCE: Final = 256
_BUCKETS: Final = 3
"""An identity is remembered for its window and up to two buckets of time; an entry is kept one longer."""

K_contra = TypeVar("K_contra", contravariant=True)
_encode: Final = msgspec.msgpack.Encoder().encode
_REMEMBERED: Final = msgspec.msgpack.Decoder(tuple[str, str, dict[str, list[float]]])
_WINDOWS: Final = msgspec.msgpack.Decoder(list[Remembered])


class MapState(Protocol[K_contra]):
    """Flink's state of one key, as a map to bytes."""

    def put(self, key: K_contra, value: bytes) -> None: ...
    def remove(self, key: K_contra) -> None: ...
    def items(self) -> Iterable[tuple[Any, bytes]]: ...


class LaneState:
    """One lane's state, on the maps that all lanes of a task share."""

    def __init__(self, log: MapState[int], recent: MapState[str], windows: MapState[str]) -> None:
        self._log = log
        self._recent = recent
        self._windows = windows
        self._last = 0
        self._told: dict[str, dict[str, int]] = {}

    @staticmethod
    def maps(context: RuntimeContext, kept_s: float) -> "tuple[MapState[int], MapState[str], MapState[str]]":
        """Open the maps, which Flink switches with the key; an entry of the log goes after `kept_s`."""
        packed = Types.PRIMITIVE_ARRAY(Types.BYTE())
        log = MapStateDescriptor("log", Types.LONG(), packed)
        ttl = StateTtlConfig.new_builder(Time.milliseconds(int(kept_s * 1000)))
        log.enable_time_to_live(ttl.build())
        recent = MapStateDescriptor("recent", Types.STRING(), packed)
        windows = MapStateDescriptor("windows", Types.STRING(), packed)
        return context.get_map_state(log), context.get_map_state(recent), context.get_map_state(windows)

    def restore(self, pipeline: CleanPipeline, now: datetime) -> bool:
        """Bring a new pipeline to where the checkpoint was; False if there is no state yet."""
        found = False
        portion: list[bytes] = []
        for number, value in self._log.items():
            self._last = max(self._last, number)
            portion.append(value)
            if len(portion) == _AT_ONCE:
                pipeline.restore(portion, now)
                portion, found = [], True
        if portion:
            pipeline.restore(portion, now)
        recent = sorted(_REMEMBERED.decode(value) for _, value in self._recent.items())
        for stream, entries in groupby(recent, key=lambda entry: entry[0]):
            if (history := pipeline.histories.get(stream)) is not None:
                history.restore((source, names) for _, source, names in entries)
                history.changed(self._told.setdefault(stream, {}))
        windows = dict(self._windows.items())
        for stream, kept in pipeline.windows.items():
            if stream in windows:
                kept.restore(_WINDOWS.decode(windows[stream]))
        return found or bool(portion or recent or windows)

    def remember(self, values: Iterable[bytes], now: datetime) -> None:
        """Add records of `dedupe.log`; numbers follow the clock, so that they go on after a restart."""
        for value in values:
            self._last = max(self._last + 1, int(now.timestamp() * 1e6))
            self._log.put(self._last, value)

    def keep(self, pipeline: CleanPipeline, streams: Iterable[str]) -> None:
        """Write the readings that a batch changed; `streams` are those that it had events of."""
        for stream in streams:
            if (history := pipeline.histories.get(stream)) is not None:
                self._keep_recent(stream, history)
            if (windows := pipeline.windows.get(stream)) is not None:
                self._windows.put(stream, _encode(windows.snapshot()))

    def _keep_recent(self, stream: str, history: History) -> None:
        news, gone = history.changed(self._told.setdefault(stream, {}))
        for source, names in news:
            self._recent.put(_place(stream, source), _encode((stream, source, names)))
        for source in gone:
            self._recent.remove(_place(stream, source))


def kept_s(pipeline: CleanPipeline) -> float:
    """Return for how many seconds an entry of the log may be needed."""
    memories: Mapping[str, Any] = pipeline.memories
    return max((m.window_s + _BUCKETS * m.bucket_s for m in memories.values()), default=1.0)


def _place(stream: str, source: str) -> str:
    return f"{stream}\n{source.encode('utf-8', 'backslashreplace').decode()}"
