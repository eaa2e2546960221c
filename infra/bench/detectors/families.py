"""The detector benchmark's streams: consumes seeds, produces error bits with at most one known rise each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Family:
    """Streams of one kind: the rate `before` for `steady` labels, then `after`, reached over `ramp` labels.

    After its rise a stream goes on for `horizon` labels; without a horizon it only is steady.
    """

    name: str
    before: float
    steady: int
    trials: int
    after: float = 0.0
    ramp: int = 0
    horizon: int = 0

    def streams(self) -> Iterator[Bits]:
        """Yield the streams; the same at every call."""
        for trial in range(self.trials):
            random = np.random.default_rng([int(self.before * 1000), self.steady, self.ramp, trial])
            share = np.minimum(1.0, (np.arange(self.horizon) + 1.0) / max(1, self.ramp))
            later = self.before + (self.after - self.before) * share
            yield np.concatenate(
                [random.random(self.steady) < self.before, random.random(self.horizon) < later]
            )


FAMILIES: Final = (
    Family("steady .02, 1,000,000", 0.02, 1_000_000, 1),
    Family("steady .1, 1,000,000", 0.1, 1_000_000, 1),
    Family("steady .3, 1,000,000", 0.3, 1_000_000, 1),
    Family("steady .5, 1,000,000", 0.5, 1_000_000, 1),
    Family(".15 → .35 after 1,000", 0.15, 1_000, 200, 0.35, horizon=2_000),
    Family(".15 → .35 after 10,000", 0.15, 10_000, 60, 0.35, horizon=2_000),
    Family(".15 → .35 after 100,000", 0.15, 100_000, 10, 0.35, horizon=2_000),
    Family(".10 → .15 after 10,000", 0.10, 10_000, 40, 0.15, horizon=10_000),
    Family(".10 → .30 over 1,000", 0.10, 10_000, 40, 0.30, ramp=1_000, horizon=5_000),
    Family(".10 → .30 over 5,000", 0.10, 10_000, 40, 0.30, ramp=5_000, horizon=10_000),
    Family(".02 → .06 after 10,000", 0.02, 10_000, 40, 0.06, horizon=5_000),
    Family(".10 → .90 after 5,000", 0.10, 5_000, 40, 0.90, horizon=500),
)
