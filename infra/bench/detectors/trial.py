"""One detector over a family's streams: consumes error bits, produces what was found, missed and made up."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infra.bench.detectors.families import Bits, Family
from streams.detectors.ensemble import Ensemble
from streams.detectors.protocol import ErrorDetector


@dataclass
class Figures:
    """What a detector made of some labels; `labels` counts those at which an alarm is false."""

    labels: int = 0
    false: int = 0
    delays: list[int] = field(default_factory=list)
    missed: int = 0
    error_rate: float = 0.0

    def add(self, other: "Figures") -> None:
        """Add another stream's."""
        self.error_rate = (self.error_rate * self.labels + other.error_rate * other.labels) / max(
            1, self.labels + other.labels
        )
        self.labels += other.labels
        self.false += other.false
        self.delays += other.delays
        self.missed += other.missed

    def summary(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return {
            "labels": self.labels,
            "found": len(self.delays),
            "missed": self.missed,
            "false": self.false,
            "mean_delay": round(float(np.mean(self.delays)), 1) if self.delays else None,
            "p95_delay": round(float(np.percentile(self.delays, 95)), 1) if self.delays else None,
        }


def alarms(detector: ErrorDetector, bits: Bits) -> list[int]:
    """Return at which bits the detector fires."""
    found = []
    if isinstance(detector, Ensemble):
        at, data = -1, bits.tobytes()
        while (fired := detector.update_many(data[at + 1 :])) is not None:
            at += fired + 1
            found.append(at)
        return found
    for number, bit in enumerate(bits.tolist()):
        detector.update(bit)
        if detector.drift_detected:
            found.append(number)
    return found


def judged(family: Family, bits: Bits, found: list[int]) -> Figures:
    """Return the figures of a stream: the first alarm after the rise finds it, each before is false."""
    early = sum(at < family.steady for at in found)
    figures = Figures(family.steady, early)
    if family.horizon:
        later = [at - family.steady for at in found if at >= family.steady]
        figures.delays = later[:1]
        figures.missed = int(not later)
    return figures


def updates_per_s(detector: ErrorDetector, bits: Bits) -> float:
    """Return how many bits a second a detector takes, one call each, as the drift worker makes them."""
    values = bits.tolist()
    update = detector.update
    began = time.process_time()
    for bit in values:
        update(bit)
        _ = detector.drift_detected
    return len(values) / max(1e-9, time.process_time() - began)
