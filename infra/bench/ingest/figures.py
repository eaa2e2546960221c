"""The figures of `headrace bench ingest`: consumes sightings, events and samples, produces one object."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from infra.bench.ingest.load import LoadReport
from infra.bench.ingest.plan import IngestPlan
from infra.bench.ingest.probe import Sighting
from infra.bench.ingest.usage import Sample, cores

PERCENTILES: Final = (50, 95, 99)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def latencies_ms(sightings: Sequence[Sighting], partition: int, offsets: Ints, due_us: Ints) -> Floats:
    """Return for each event of a partition how long after it was due it was seen, in milliseconds.

    Raises:
        ValueError: an event lies behind the last sighting.
    """
    ends = np.array([one.ends.get(partition, -1) for one in sightings], dtype=np.int64)
    moments = np.array([one.at_s for one in sightings], dtype=np.float64)
    first = np.searchsorted(np.maximum.accumulate(ends), offsets, side="left")  # the earliest that reaches it
    if first.size and int(first.max()) >= len(sightings):
        raise ValueError(f"events of partition {partition} were never seen")
    return moments[first] * 1e3 - due_us / 1e3


def percentiles(values: Floats) -> dict[str, float]:
    """Return p50, p95 and p99, to a tenth."""
    if not values.size:
        return {}
    found = np.percentile(values, PERCENTILES)
    return {f"p{at}": round(float(value), 1) for at, value in zip(PERCENTILES, found, strict=True)}


def by_second(due_s: Floats, values: Floats) -> list[dict[str, float]]:
    """Return the percentiles of each second of the run, `at_s` from the first event on."""
    if not due_s.size:
        return []
    seconds = np.floor(due_s - due_s.min()).astype(np.int64)
    order = np.argsort(seconds, kind="stable")
    edges = np.searchsorted(seconds[order], np.arange(int(seconds.max()) + 2))
    return [
        {"at_s": float(second), **percentiles(values[order[start:end]])}
        for second, (start, end) in enumerate(pairwise(edges))
        if end > start
    ]


def lag(
    sightings: Sequence[Sighting], start_s: float, plan: IngestPlan, base_rows: int
) -> list[dict[str, float]]:
    """Return, about once a second, how many events were due and not seen yet."""
    points: list[dict[str, float]] = []
    for one in sightings:
        at_s = one.at_s - start_s
        if at_s >= 0 and (not points or at_s - points[-1]["at_s"] >= 1.0):
            due = min(plan.total, int(at_s * plan.rate))
            points.append({"at_s": round(at_s, 2), "events": max(0, due - (one.rows - base_rows))})
    return points


def summary(
    plan: IngestPlan,
    load: LoadReport,
    *,
    counts: tuple[int, int, int],
    latency: dict[str, float],
    seconds: list[dict[str, float]],
    samples: list[Sample],
    lags: list[dict[str, float]],
    reached: float,
) -> dict[str, Any]:
    """Put the figures together."""
    rows, ids, _ = counts
    used = cores(samples)
    return {
        "rate": plan.rate,
        "seconds": plan.seconds,
        "kind": plan.kind.value,
        "selectable_ms": latency,
        "events_per_s": round(reached, 1),
        "sent": load.sent,
        "not_acknowledged": load.failed,
        "rows": rows,
        "lost": load.sent - ids,
        "doubled": rows - ids,
        "rss_bytes": {
            "first": sum(samples[0].rss_bytes.values()),
            "last": sum(samples[-1].rss_bytes.values()),
            "peak": max(sum(one.rss_bytes.values()) for one in samples),
            "by_process": {
                name: {"first": samples[0].rss_bytes.get(name, 0), "last": last}
                for name, last in samples[-1].rss_bytes.items()
            },
        },
        "cpu": used,
        "cpu_ms_per_1000_events": {name: round(c * 1e6 / max(reached, 1.0), 2) for name, c in used.items()},
        "load": {
            "late_ms": round(load.late_ms, 1),
            "mean_late_ms": round(load.mean_late_ms, 2),
            "bytes_per_event": round(load.bytes_sent / max(load.sent, 1), 1),
        },
        "lag": lags,
        "by_second": seconds,
        "rss_over_time": [{"at_s": round(one.at_s - samples[0].at_s, 1), **one.rss_bytes} for one in samples],
    }
