"""Puts a row into its context: consumes rows and labels as they come, produces what is seen of a row.

Readings that wander are told by how far they lie from their own mean of lately; labels that come in runs
are told by the newest ones. Only labels that came by the time of a row are used, so with late labels these
are old.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from infra.backtest.learners.protocol import Seen
from infra.backtest.row import Row

SPANS: Final = (8, 32, 128)
"""Rows over which the means forget."""

_LAGS: Final = (1, 2, 3)
_WINDOWS: Final = (5, 20, 50)
_MAX_MOVING: Final = 32
_MAX_CLASSES: Final = 10


class Context:
    """Memory: a mean for each span of at most 32 readings, and the newest 50 labels."""

    def __init__(self) -> None:
        self._means: dict[str, list[float]] = {}
        self._before: dict[str, float] = {}
        self._labels: deque[str] = deque(maxlen=max(_WINDOWS))
        self._classes: list[str] = []
        self._newest = -1

    def see(self, row: Row) -> Seen:
        """Return a row in its context, and take it into it."""
        return Seen(
            values=row.values,
            moves=dict(self._moves(row)),
            told=dict(self._told()),
            text=row.text,
            last=self._labels[-1] if self._labels else "",
            age=row.number - self._newest if self._labels else 0,
        )

    def told(self, row: Row, label: str) -> None:
        """Take a label that came."""
        self._labels.append(label)
        self._newest = max(self._newest, row.number)
        if label not in self._classes and len(self._classes) < _MAX_CLASSES:
            self._classes.append(label)

    def _moves(self, row: Row) -> Iterator[tuple[str, float]]:
        for name, value in row.values.items():
            if isinstance(value, str):
                continue
            means = self._means.get(name)
            if means is None:
                if len(self._means) >= _MAX_MOVING:
                    continue
                means = self._means[name] = [value] * len(SPANS)
            yield f"{name} step", value - self._before.get(name, value)
            self._before[name] = value
            for at, span in enumerate(SPANS):
                means[at] += 2.0 / (span + 1) * (value - means[at])
                yield f"{name} from mean of {span}", value - means[at]

    def _told(self) -> Iterator[tuple[str, float]]:
        labels = self._labels
        if not labels:
            return
        classes = self._classes[1:] if len(self._classes) == 2 else self._classes
        newest = list(labels)[::-1]
        for name in classes:
            for lag in _LAGS:
                yield f"label {lag} ago is {name}", float(len(newest) >= lag and newest[lag - 1] == name)
            for window in _WINDOWS:
                part = newest[:window]
                yield f"{name} in last {window}", part.count(name) / len(part)
        run = next((at for at, label in enumerate(newest) if label != newest[0]), len(newest))
        yield "labels alike", float(run)
