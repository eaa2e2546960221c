"""The figures of `headrace bench devices` for people: consumes what was measured, produces tables."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from infra.bench.devices.serving import Worth
from infra.bench.devices.tuning import Tuned

if TYPE_CHECKING:
    from rich.table import Table


def speed(told: Mapping[str, Mapping[str, Worth]]) -> "Table":
    """Lay out how fast each graph is on each provider, by the rows of a run."""
    from rich.table import Table

    table = Table("provider", "graph", "rows", "p50 ms", "p99 ms", "rows/s", "open s", "again s", box=None)
    for way, precision, one in _each(told):
        first = (way, precision), (f"{one.open_s:.2f}", f"{one.again_s:.2f}")
        for number, (size, run) in enumerate(one.batches.items()):
            names, opened = (("", ""), ("", "")) if number else first
            times = (f"{run.p50_ms:.2f}", f"{run.p99_ms:.2f}", f"{run.rows_per_s:,.0f}")
            table.add_row(*names, size, *times, *opened)
    return table


def answers(told: Mapping[str, Mapping[str, Worth]]) -> "Table":
    """Lay out how each graph's answers differ from the CPU's in FP32, and alone from those in company."""
    from rich.table import Table

    table = Table("provider", "graph", "agrees", "logits", "score", "in company", "is", box=None)
    for way, precision, one in _each(told):
        joined = "joined" if one.independent and one.together_speedup > 1 else "alone"
        table.add_row(
            way, precision, f"{one.agreement:.4f}", f"{one.max_difference:.1e}",
            f"{one.score_difference:.1e}", f"{one.together:.1e}", f"{joined}, {one.together_speedup:.1f} ×",
        )  # fmt: skip
    return table


def _each(told: Mapping[str, Mapping[str, Worth]]) -> Iterator[tuple[str, str, Worth]]:
    """Yield what has figures, under short names."""
    for way, precisions in told.items():
        for precision, one in precisions.items():
            if not one.failed:
                yield way.replace("ExecutionProvider", ""), precision, one


def tuning(told: Mapping[str, Tuned]) -> "Table":
    """Lay out what the trainer's loop does on each device."""
    from rich.table import Table

    table = Table(
        "training on", "in", "steps/s", "rows/s", "loss first, last", "accuracy", "parity", "MB", box=None
    )
    for device, one in told.items():
        table.add_row(
            device, one.precision, f"{one.steps_per_s:.2f}", f"{one.rows_per_s:,.0f}",
            f"{one.losses[0]:.3f}, {one.losses[-1]:.3f}", f"{one.accuracy:.4f}",
            f"{one.parity['parity']:.1e}", f"{one.memory_bytes / 1e6:,.0f}",
        )  # fmt: skip
    return table
