"""Made series: consumes a random generator, produces steady series and such with an anomaly planted at a row.

    python -m infra.bench.nab.synthetic       what the detector makes of them, a minute

The detector's tests use them too, with other seeds.
"""

import sys
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.detectors.novelty import Novelty

Readings = npt.NDArray[np.float64]
Make = Callable[[np.random.Generator], Readings]

DAY: Final = 288
"""Readings of a day, one every five minutes."""
PLANTED_AT: Final = 11 * DAY
"""The row at which an anomaly begins."""
FOUND_WITHIN: Final = 300
_ROWS: Final = PLANTED_AT + 400
_STEADY_ROWS: Final = 20_000
_NIGHT: Final = 200
_THRESHOLDS: Final = (0.3, 0.4, 0.5)


def autoregressive(random: np.random.Generator) -> Readings:
    """Readings that follow the one before them, x = .9 x' + e."""
    noise = random.normal(size=_STEADY_ROWS)
    for row in range(1, _STEADY_ROWS):
        noise[row] += 0.9 * noise[row - 1]
    return noise


def seasonal(random: np.random.Generator) -> Readings:
    """A sine of a day, with noise of a tenth of its height."""
    wave: Readings = 10 * np.sin(2 * np.pi * np.arange(_STEADY_ROWS) / DAY)
    return wave + random.normal(size=_STEADY_ROWS)


STEADY: Final[dict[str, Make]] = {
    "normal": lambda random: random.normal(size=_STEADY_ROWS),
    "uniform": lambda random: random.random(_STEADY_ROWS),
    "Poisson, mean 2": lambda random: random.poisson(2, _STEADY_ROWS).astype(np.float64),
    "log-normal": lambda random: random.lognormal(size=_STEADY_ROWS),
    "exponential": lambda random: random.exponential(size=_STEADY_ROWS),
    "Student's t, 3 degrees": lambda random: random.standard_t(3, _STEADY_ROWS),
    "autoregressive": autoregressive,
    "seasonal": seasonal,
    "random walk": lambda random: random.normal(size=_STEADY_ROWS).cumsum(),
}


def steady(random: np.random.Generator) -> Readings:
    """Normal readings, mean 100, standard deviation 3."""
    return random.normal(100, 3, _ROWS)


def daily(random: np.random.Generator) -> Readings:
    """A hump of 20 in the first half of every day, with noise of 1."""
    humps: Readings = 20 * np.maximum(0, np.sin(2 * np.pi * np.arange(_ROWS) / DAY))
    return 50 + humps + random.normal(0, 1, _ROWS)


def spike(random: np.random.Generator) -> Readings:
    """One reading far above."""
    readings = steady(random)
    readings[PLANTED_AT] += 40
    return readings


def shift(random: np.random.Generator) -> Readings:
    """1.3 standard deviations more from here on."""
    readings = steady(random)
    readings[PLANTED_AT:] += 4
    return readings


def slope(random: np.random.Generator) -> Readings:
    """A twentieth of a standard deviation more with each reading."""
    readings = steady(random)
    readings[PLANTED_AT:] += 0.15 * np.arange(_ROWS - PLANTED_AT)
    return readings


def noisier(random: np.random.Generator) -> Readings:
    """Three times the noise."""
    readings = steady(random)
    readings[PLANTED_AT:] = random.normal(100, 9, _ROWS - PLANTED_AT)
    return readings


def frozen(random: np.random.Generator) -> Readings:
    """The same reading again and again."""
    readings = steady(random)
    readings[PLANTED_AT:] = readings[PLANTED_AT]
    return readings


def bursts(random: np.random.Generator) -> Readings:
    """Bursts that come once in 100 readings come once in four."""
    readings = steady(random)
    readings[random.random(_ROWS) < 0.01] += 30
    readings[PLANTED_AT : PLANTED_AT + 64][random.random(64) < 0.25] += 30
    return readings


def between(random: np.random.Generator) -> Readings:
    """Ten readings half way between the two levels that there are."""
    readings = np.where(np.arange(_ROWS) // 100 % 2, 80.0, 20.0) + random.normal(0, 1, _ROWS)
    readings[PLANTED_AT : PLANTED_AT + 10] = 50.0
    return readings


def outage(random: np.random.Generator) -> Readings:
    """Counts of nothing, where there are 40 on average."""
    readings = random.poisson(40, _ROWS).astype(np.float64)
    readings[PLANTED_AT : PLANTED_AT + 20] = 0.0
    return readings


def missing_day(random: np.random.Generator) -> Readings:
    """A day without its hump."""
    readings = daily(random)
    readings[PLANTED_AT : PLANTED_AT + DAY] = 50 + random.normal(0, 1, DAY)
    return readings


def at_night(random: np.random.Generator) -> Readings:
    """Ten readings as of the day's height, at night."""
    readings = np.roll(daily(random), -_NIGHT)
    readings[PLANTED_AT : PLANTED_AT + 10] = 66.0
    return readings


PLANTED: Final[dict[str, Make]] = {
    make.__name__: make
    for make in (
        *(spike, shift, slope, noisier, frozen, bursts),
        *(between, outage, missing_day, at_night),
    )
}


def alarms(detector: Novelty, readings: Readings) -> list[int]:
    """Return the rows at which the detector tells an anomaly."""
    found = []
    for row, reading in enumerate(readings.tolist()):
        detector.update(reading)
        if detector.anomaly_detected:
            found.append(row)
    return found


def told(readings: Readings) -> tuple[int, str] | None:
    """Return the delay of the first alarm since the planted anomaly, and its aspect; None if it is missed."""
    detector = Novelty()
    for row, reading in enumerate(readings[: PLANTED_AT + FOUND_WITHIN].tolist()):
        detector.update(reading)
        if row >= PLANTED_AT and detector.anomaly_detected:
            return row - PLANTED_AT, str(detector.aspect)
    return None


def main() -> None:
    """Print the alarms in steady series, and how soon planted anomalies are found."""
    write = sys.stdout.write
    write(f"| steady, alarms in 10,000 | {' | '.join(map(str, _THRESHOLDS))} |\n|---|--:|--:|--:|\n")
    for name, make in STEADY.items():
        series = [make(np.random.default_rng(seed)) for seed in (1, 2, 3)]
        counts = [sum(len(alarms(Novelty(at), readings)) for readings in series) for at in _THRESHOLDS]
        write(f"| {name} | {' | '.join(f'{count / 3 / _STEADY_ROWS * 1e4:.1f}' for count in counts)} |\n")
    write("\n| planted, 40 series | found | mean delay | first by |\n|---|--:|--:|---|\n")
    for name, make in PLANTED.items():
        found = [hit for seed in range(40) if (hit := told(make(np.random.default_rng(seed))))]
        by = [aspect for _, aspect in found]
        ranked = sorted(set(by), key=by.count, reverse=True)
        delay = np.mean([late for late, _ in found])
        write(f"| {name} | {len(found)} | {delay:.1f} | {', '.join(ranked)} |\n")


if __name__ == "__main__":
    main()
