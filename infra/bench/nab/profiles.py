"""NAB's application profiles: what a hit, a miss and a false alarm weigh for whom.

A. Lavin, S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark",
ICMLA 2015, section II. The weights are the benchmark's own.
"""

from typing import Final

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """Weights of a window that is found, of a false alarm far from any window, and of a missed window."""

    name: str
    hit: float
    false_alarm: float
    miss: float


STANDARD: Final = Profile("standard", hit=1.0, false_alarm=0.11, miss=1.0)
LOW_FP: Final = Profile("reward_low_FP_rate", hit=1.0, false_alarm=0.22, miss=1.0)
LOW_FN: Final = Profile("reward_low_FN_rate", hit=1.0, false_alarm=0.11, miss=2.0)
PROFILES: Final = (STANDARD, LOW_FP, LOW_FN)
