"""Count windows: consumes readings by name and source, produces the last so many of each for a sensor model.

Whatever the times of the events: the order is that of the partition.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping


class CountWindows:
    """The last `size` readings of each name of each key, such as the sensors of a source, oldest first.

    Bounded: `max_keys` keys, the least recently seen forgotten first, and `max_names` names of each.

    >>> windows = CountWindows(2)
    >>> [windows.add("host", {"cpu": value})["cpu"] for value in (1.0, 2.0, 3.0)]
    [(1.0,), (1.0, 2.0), (2.0, 3.0)]
    """

    def __init__(self, size: int, *, max_keys: int = 10_000, max_names: int = 256) -> None:
        self._size = size
        self._max_keys = max_keys
        self._max_names = max_names
        self._keys: OrderedDict[str, dict[str, deque[float]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, readings: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
        """Take in readings by name; returns the windows of these names, the new reading last."""
        names = self._keys.get(key)
        if names is None:
            names = self._keys[key] = {}
            if len(self._keys) > self._max_keys:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        windows = {}
        for name, reading in readings.items():
            window = names.get(name)
            if window is None:
                if len(names) >= self._max_names:
                    continue
                window = names[name] = deque(maxlen=self._size)
            window.append(reading)
            windows[name] = tuple(window)
        return windows

    def snapshot(self) -> list[tuple[str, dict[str, list[float]]]]:
        """Return everything remembered, least recently seen key first."""
        return [(key, {name: list(w) for name, w in names.items()}) for key, names in self._keys.items()]

    def restore(self, snapshot: list[tuple[str, dict[str, list[float]]]]) -> None:
        """Remember what a snapshot says, and nothing else."""
        self._keys.clear()
        for key, names in snapshot:
            self._keys[key] = {name: deque(window, maxlen=self._size) for name, window in names.items()}
