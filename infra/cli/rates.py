"""What the workers of a data folder count: their /metrics in, events a second and ratios per stream out."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from infra.runtime.metrics.server import addresses
from infra.runtime.settings import Settings

OVER_S: Final = 1.0
"""The time over which a rate is taken."""

_HELD: Final = "flink_taskmanager_job_task_operator_held"
_COUNTED: Final = ("headrace_events_accepted", "headrace_events_duplicates", "headrace_events_rejected")


@dataclass(frozen=True)
class Rates:
    """One stream, over all workers of this data folder; ratios are of all counted since they started."""

    accepted_per_s: float
    duplicate_ratio: float
    reject_ratio: float
    delay_s: float | None


async def rates(settings: Settings) -> dict[str, Rates]:
    """Return every stream's rates; empty where no worker of this folder serves metrics."""
    urls = list(addresses(settings.home).values())
    if not urls:
        return {}
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        before, _ = await _counts(client, urls)
        await asyncio.sleep(OVER_S)
        after, delays = await _counts(client, urls)
    accepted, duplicates, rejected = _COUNTED
    found = {}
    for stream in settings.config.streams:
        counts = {name: after[name, stream] for name in _COUNTED}
        total = sum(counts.values())
        found[stream] = Rates(
            (after[accepted, stream] - before[accepted, stream]) / OVER_S,
            counts[duplicates] / total if total else 0.0,
            counts[rejected] / total if total else 0.0,
            delays.get(stream),
        )
    return found


async def held(settings: Settings) -> int:
    """Return how many events wait in jobs on this folder's Flink cluster, as it told within some seconds."""
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        found = await _samples(client, list(addresses(settings.home).values()))
    return int(sum(sample.value for name, sample in found if name == _HELD))


async def _counts(
    client: httpx.AsyncClient, urls: list[str]
) -> tuple[Mapping[tuple[str, str], float], dict[str, float]]:
    """Add up the workers' counters by name and stream, and take the longest delay of each stream."""
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    delays: dict[str, float] = {}
    for name, sample in await _samples(client, urls):
        stream = sample.labels.get("stream", "")
        if name in _COUNTED and sample.name.endswith("_total"):
            sums[name, stream] += sample.value
        elif name == "headrace_watermark_delay_seconds" and not isnan(sample.value):
            delays[stream] = max(sample.value, delays.get(stream, sample.value))
    return sums, delays


async def _samples(client: httpx.AsyncClient, urls: list[str]) -> list[tuple[str, Sample]]:
    """Return all samples of all workers, each with the name of its family."""
    answers = await asyncio.gather(*(client.get(url) for url in urls), return_exceptions=True)
    return [
        (family.name, sample)
        for answer in answers
        if not isinstance(answer, BaseException)  # it ended in this moment
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]
