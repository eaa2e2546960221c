"""How far event time has come: consumes the times of events by partition, produces the watermark.

A watermark W says that events older than W are no longer waited for (T. Akidau et al., "The Dataflow
Model", PVLDB 8, 2015). Each partition's is the newest time it has shown less the disorder allowed; that of
them all is the least among the partitions that are not idle, and it never goes back.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_RECENT: Final = 64
_STRIDE: Final = 8
_FEW: Final = 32


class _Agreement:
    """The newest time that `wanted` of the last 64 events, of whatever partition, have reached."""

    def __init__(self, wanted: int) -> None:
        self._wanted = min(max(wanted, 1), _RECENT)
        self.events = 0
        self.time_s = -inf
        self.ahead: list[tuple[int, float]] = []  # number and time of the recent events that are beyond it

    def update(self, time_s: float) -> float:
        self.events += 1
        if time_s > self.time_s:
            oldest = self.events - _RECENT
            self.ahead = [(number, time) for number, time in self.ahead if number > oldest]
            self.ahead.append((self.events, time_s))
            if len(self.ahead) >= self._wanted:
                self.time_s = agreed = min(time for _, time in self.ahead)
                self.ahead = [(number, time) for number, time in self.ahead if time > agreed]
        return self.time_s

    def update_many(self, times_s: Floats) -> float:
        """Take many at once; looks at the runs of 64 that end at every eighth event, and at the last."""
        before = np.full(_RECENT - 1, -inf)
        for number, time in self.ahead:
            if (at := _RECENT - 2 - (self.events - number)) >= 0:
                before[at] = time
        every = np.concatenate((before, times_s))
        offset = (times_s.size - 1) % _STRIDE
        runs = np.lib.stride_tricks.sliding_window_view(every, _RECENT)[offset::_STRIDE]
        least = _RECENT - self._wanted
        self.time_s = max(self.time_s, float(np.partition(runs, least, axis=1)[:, least].max()))
        self.events += times_s.size
        first = self.events - min(_RECENT, every.size) + 1
        newest = every[-_RECENT:].tolist()
        self.ahead = [(first + n, time) for n, time in enumerate(newest) if time > self.time_s]
        return self.time_s


class _Partition:
    """The newest time of one partition, and when its last event came."""

    __slots__ = ("front", "last_s")

    def __init__(self) -> None:
        self.front = -inf
        self.last_s = -inf


class Watermark:
    """The watermark of several partitions, monotone.

    Args:
        disorder_s: how much older than the newest an event of the same partition may be.
        idle_s: after so long without an event (by the times handed in), a partition holds back nothing.
        agreeing: how many of the last 64 events of all partitions must have reached a time before it counts,
            up to 64. With more than 1, a few wrong clocks carry nothing away, and W is so many events late.

    Memory: two numbers a partition, and at most 64 times.

    >>> watermark = Watermark(disorder_s=2.0, idle_s=60.0)
    >>> watermark.update(0, time_s=100.0, now_s=0.0), watermark.update(1, time_s=90.0, now_s=0.0)
    (98.0, 98.0)
    >>> watermark.update(1, time_s=105.0, now_s=1.0)
    98.0
    """

    def __init__(self, disorder_s: float, idle_s: float = inf, *, agreeing: int = 1) -> None:
        self._disorder_s = disorder_s
        self._idle_s = idle_s
        self._agreement = _Agreement(agreeing)
        self._partitions: dict[int, _Partition] = {}
        self.value = -inf
        """The watermark in seconds since 1970; −∞ until an event came."""

    def expect(self, partition: int, now_s: float) -> None:
        """Name a partition that will be read: until its first event, or until it is idle, it holds W back."""
        self._partitions.setdefault(partition, _Partition()).last_s = now_s

    def update(self, partition: int, time_s: float, now_s: float) -> float:
        """Take an event's time, at the moment `now_s`; returns the watermark."""
        known = self._partitions.get(partition)
        if known is None:
            known = self._partitions[partition] = _Partition()
        known.front = max(known.front, min(time_s, self._agreement.update(time_s)))
        known.last_s = max(known.last_s, now_s)
        return self.advance(now_s)

    def update_many(self, partition: int, times_s: Sequence[float] | Floats, now_s: float) -> float:
        """Take the times of many events of a partition, in their order; returns the watermark after them."""
        if len(times_s) < _FEW:
            for time_s in times_s:
                self.update(partition, float(time_s), now_s)
            return self.value
        times = np.asarray(times_s, np.float64)
        known = self._partitions.setdefault(partition, _Partition())
        known.front = max(known.front, min(float(times.max()), self._agreement.update_many(times)))
        known.last_s = max(known.last_s, now_s)
        return self.advance(now_s)

    def advance(self, now_s: float) -> float:
        """Return the watermark at the moment `now_s`, for partitions may have become idle since.

        When all are idle, nothing is known of where event time is: the watermark stays.
        """
        least = inf
        for partition in self._partitions.values():
            if partition.front < least and now_s - partition.last_s <= self._idle_s:
                least = partition.front
        if least < inf:
            self.value = max(self.value, least - self._disorder_s)
        return self.value

    @property
    def newest_s(self) -> float:
        """The newest time that events agree on, over all partitions; −∞ until there is one."""
        return self._agreement.time_s

    def forget(self, partition: int) -> None:
        """Leave out a partition that went to another worker."""
        self._partitions.pop(partition, None)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "value": _finite(self.value),
            "partitions": [[n, _finite(p.front), _finite(p.last_s)] for n, p in self._partitions.items()],
            "agreement": [
                self._agreement.events,
                _finite(self._agreement.time_s),
                [list(one) for one in self._agreement.ahead],
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.value = _infinite(state["value"])
        self._partitions.clear()
        for number, front, last_s in state["partitions"]:
            partition = self._partitions[number] = _Partition()
            partition.front, partition.last_s = _infinite(front), _infinite(last_s)
        events, agreed, ahead = state["agreement"]
        self._agreement.events, self._agreement.time_s = events, _infinite(agreed)
        self._agreement.ahead = [(number, time) for number, time in ahead]


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return None if value == -inf else value


def _infinite(value: float | None) -> float:
    return -inf if value is None else value
