"""What cannot be beaten by much: consumes the true rates, produces the delay of a CUSUM that was told them.

    python -m infra.bench.detectors.oracle

E. S. Page's CUSUM of the true likelihood ratio is the fastest test of its rate of false alarms (G. Lorden,
1971; G. V. Moustakides, 1986). Its threshold is set for about as many as the default detector raises, one in
three million labels; then it watches a Tornado drift, whose rows change their concept within some 50, and a
sudden rise.
"""

import sys
from typing import Final

import numpy as np

_FALSE: Final = 1 / 3_000_000
_CHAINS: Final = 20_000
_LABELS: Final = 2_000
_TRIALS: Final = 4_000
_LOW: Final = 9.0
_WIDTH: Final = 50


def threshold(before: float, after: float) -> float:
    """Return the threshold of the wanted rate: counted at a low one, from which it falls exponentially."""
    random = np.random.default_rng(1)
    up, down = np.log(after / before), np.log((1.0 - after) / (1.0 - before))
    sums, alarms = np.zeros(_CHAINS), 0
    for _ in range(_LABELS):
        sums = np.maximum(sums + np.where(random.random(_CHAINS) < before, up, down), 0.0)
        alarms += int(np.sum(sums > _LOW))
        sums[sums > _LOW] = 0.0
    return float(_LOW + np.log(alarms / (_CHAINS * _LABELS) / _FALSE))


def delay(before: float, after: float, assumed: float, *, gradual: bool) -> float:
    """Return the mean delay; the test assumes the rate `assumed` after the change."""
    random = np.random.default_rng(2)
    limit = threshold(before, assumed)
    up, down = np.log(assumed / before), np.log((1.0 - assumed) / (1.0 - before))
    sums, found = np.zeros(_TRIALS), np.full(_TRIALS, -1)
    for label in range(-200, 2_000):
        share = 1.0 / (1.0 + np.exp(-4.0 * (label - _WIDTH / 2) / _WIDTH)) if gradual else 1.0
        rate = before + (after - before) * share * (label >= 0)
        sums = np.maximum(sums + np.where(random.random(_TRIALS) < rate, up, down), 0.0)
        found[(sums > limit) & (found < 0) & (label >= 0)] = label
    return float(found.mean())


def main() -> None:
    """Print the least delay over the assumed rates."""
    cases = {
        "sine1, .12 → .88": (0.12, 0.88, (0.45, 0.55, 0.65), True),
        "mixed, .16 → .83": (0.16, 0.83, (0.45, 0.55, 0.65), True),
        "sudden .15 → .35": (0.15, 0.35, (0.35,), False),
    }
    for name, (before, after, assumed, gradual) in cases.items():
        least = min(delay(before, after, rate, gradual=gradual) for rate in assumed)
        sys.stdout.write(f"{name}: {least:.1f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
