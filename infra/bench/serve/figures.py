"""The figures of a comparison: consumes samples, produces the JSON object and a table for people."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from infra.bench.serve.measure import Sample
from infra.bench.serve.systems import HEADRACE, SESSION

_COLUMNS: Final = (
    "concurrency", "system", "requests/s (median)", "rounds", "Headrace is", "of the session", "p50 ms",
    "p95 ms", "p99 ms", "CPU ms/request", "failed", "other label",
)  # fmt: skip

Rounds = Sequence[Sequence[Sample]]
"""A list for each round, of a sample for each concurrency."""


def system(rounds: Rounds, concurrency: Sequence[int], headline: int) -> dict[str, Any]:
    """Return a system's figures: those at the headline's concurrency on top, all of them below."""
    each = {
        str(level): _at([samples[place] for samples in rounds]) for place, level in enumerate(concurrency)
    }
    top = ("requests_per_s", "p50_ms", "p95_ms", "p99_ms")
    return {**{name: each[str(headline)][name] for name in top}, "by_concurrency": each}


def ratios(systems: Mapping[str, Any], headline: int) -> dict[str, Any]:
    """Return Headrace's rate by each peer's, and each server's share of the session's rate.

    Both at the same concurrency; a session alone has at most as many rows under way as there are cores.
    """
    ours = systems.get(HEADRACE, {}).get("by_concurrency")
    peers = {name: figures for name, figures in systems.items() if name not in {HEADRACE, SESSION}}
    by_level: dict[str, dict[str, float]] = {}
    for level in ours or {}:
        by_level[level] = {
            name: round(ours[level]["requests_per_s"] / figures["by_concurrency"][level]["requests_per_s"], 2)
            for name, figures in peers.items()
        }
    return {
        "ratios": by_level.get(str(headline), {}),
        "ratios_by_concurrency": by_level,
        "session_share": _shares(systems),
        "session_share_of_cpu": _cpu_shares(systems),
    }


def table(figures: Mapping[str, Any]) -> str:
    """Return the comparison as a Markdown table: for each concurrency the fastest first."""
    rows = [f"| {' | '.join(_COLUMNS)} |", "|--:|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for level in map(str, figures["concurrency"]):
        found = [
            (name, one["title"], one["by_concurrency"][level]) for name, one in figures["systems"].items()
        ]
        for name, title, at in sorted(found, key=lambda row: -row[2]["requests_per_s"]):
            ratio = figures["ratios_by_concurrency"].get(level, {}).get(name)
            share = figures["session_share"].get(level, {}).get(name)
            cells = (
                level,
                title,
                f"{at['requests_per_s']:,.0f}",
                " / ".join(f"{rate:,.0f}" for rate in at["rounds"]),
                f"{ratio:.2f} ×" if ratio else "",
                f"{share:.0%}" if share else "",
                *(f"{at[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request")),
                str(at["failed"]),
                f"{at['differing']} of {at['compared']}" if at["compared"] else "",
            )
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _shares(systems: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    alone = systems.get(SESSION, {}).get("by_concurrency", {})
    return {
        level: {
            name: round(figures["by_concurrency"][level]["requests_per_s"] / at["requests_per_s"], 3)
            for name, figures in systems.items()
            if name != SESSION
        }
        for level, at in alone.items()
    }


def _cpu_shares(systems: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return what part of a server's CPU time the session alone needs: it holds on a busy machine too."""
    alone = systems.get(SESSION, {}).get("by_concurrency", {})
    return {
        level: {
            name: round(at["cpu_ms_per_request"] / figures["by_concurrency"][level]["cpu_ms_per_request"], 3)
            for name, figures in systems.items()
            if name != SESSION
        }
        for level, at in alone.items()
    }


def _at(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the medians over rounds at one concurrency, and how far the rounds lie apart."""
    rates = [sample.per_s for sample in samples]
    middle = statistics.median(rates)
    cuts = [np.percentile(sample.ms, (50, 95, 99)).tolist() for sample in samples]
    p50_ms, p95_ms, p99_ms = (round(statistics.median(each), 3) for each in zip(*cuts, strict=True))
    return {
        "requests_per_s": round(middle, 1),
        "p50_ms": p50_ms,
        "p95_ms": p95_ms,
        "p99_ms": p99_ms,
        "rounds": [round(rate, 1) for rate in rates],
        "spread": round((max(rates) - min(rates)) / middle, 3),
        "cpu_ms_per_request": round(statistics.median(1e3 * one.cpu_s / len(one.ms) for one in samples), 3),
        "failed": sum(sample.failed for sample in samples),
        "compared": sum(sample.compared for sample in samples),
        "differing": sum(sample.differing for sample in samples),
        "busy_elsewhere_cores": round(statistics.median(sample.elsewhere for sample in samples), 2),
    }
