"""The last label again: consumes how old the newest label is, produces how likely it still holds.

The chance that a label of a given age still holds is counted, in ages that double; a Laplace count begins it.
"""

from collections import Counter, defaultdict

from infra.backtest.learners.protocol import Seen, Shares


class Persistence:
    """A first-order chain with an age. Memory: two counts an age class, one a label."""

    def __init__(self) -> None:
        self._held: defaultdict[int, list[float]] = defaultdict(lambda: [1.0, 2.0])
        self._labels: Counter[str] = Counter()

    def shares(self, seen: Seen) -> Shares:
        if not seen.last:
            return {}
        kept, tried = self._held[seen.age.bit_length()]
        others = sum(self._labels.values()) - self._labels[seen.last] + len(self._labels) - 1
        stays = kept / tried if others else 1.0
        return {
            label: stays if label == seen.last else (1.0 - stays) * (count + 1) / others
            for label, count in self._labels.items()
        }

    def learn(self, seen: Seen, label: str) -> None:
        self._labels[label] += 1
        if seen.last:
            held = self._held[seen.age.bit_length()]
            held[0] += label == seen.last
            held[1] += 1.0
