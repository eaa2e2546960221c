"""`headrace bench train`: planted candidates against the gate, and compressed models against torch."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_FASTER: Final = 3.0
"""What INT8 has to be times as fast as eager torch, on a short line."""


class Part(StrEnum):
    """What is measured."""

    GATE = "gate"
    COMPRESSION = "compression"


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("train")(train)


def train(
    part: Annotated[Part, typer.Option(help="What to measure.")] = Part.GATE,
    seeds: Annotated[int, typer.Option(min=0, max=1000, help="Streams of readings.")] = 10,
    text_seeds: Annotated[int, typer.Option(min=0, max=1000, help="Streams of texts, with MiniLM.")] = 2,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-train"
    ),
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Labelled texts to compress a model of: CSV (payload, attack_type) or JSON; often."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=300, help="Rows of each file of texts.")] = 4000,
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Show that the gate releases what is better and nothing that is bad.

    Each stream has 17 or 18 bad candidates: worse by 1, 2 and 5 points, NaN and
    infinite weights, swapped labels, a head of another shape, a graph or
    weights cut short or changed by one bit, another model's graph, a stale
    tokenizer and more; and some that are better by 1 to 5 points. All are
    real models in real folders, and go the trainer's own way to the gate.

    Exits with 1 if a bad one was released, or a good one was not whose gain
    of a point or more the gate could see on its own 1,000 rows or more.

    Seven minutes on two cores; half a minute with --seeds 1 --text-seeds 0.

    --part compression makes every variant of a model of each --texts file and
    measures them, and INT8 against eager torch on short lines. Ten minutes.
    """
    import torch
    from rich.console import Console

    from infra.local.workspace import claim

    torch.set_num_threads(1)
    console = Console(stderr=json == "-", highlight=False)
    home = home.absolute()
    claim(home, "headrace bench train", ".headrace-bench-train")
    if part is Part.COMPRESSION:
        _compression(home, texts or [], rows, console, json)
    else:
        _gate(home, seeds, text_seeds, console, json)


def _compression(home: Path, texts: list[Path], rows: int, console: "Console", json: str) -> None:
    """Compress a model of each file of texts; exits with 1 if INT8 is not three times as fast as torch."""
    from infra.bench.train.compression import run
    from schemas.errors import Fatal

    if not texts:
        raise Fatal("--part compression needs --texts FILE: labelled texts as CSV or JSON")
    figures = run(home, texts, rows, console.print)
    for name, task in figures["tasks"].items():
        console.print(_variants(name, task))
        console.print(f"p50 of a short line, ms: {task['short_lines_p50_ms']}; {task['ratios']}")
    _write(figures, json)
    if any(task["ratios"]["int8_over_torch"] < _FASTER for task in figures["tasks"].values()):
        raise typer.Exit(1)


def _variants(name: str, task: dict[str, Any]) -> "Table":
    from rich.table import Table

    shown = {
        "p50_ms": "p50",
        "p99_ms": "p99",
        "rows_per_s": "rows/s",
        "accuracy": "right",
        "agreement": "same",
    }
    table = Table(title=f"{name}, {task['held_out']} held-out rows; best: {task['best']}", box=None)
    for head in ("variant", "MB", *shown.values()):
        table.add_column(head, justify="left" if head == "variant" else "right")
    for variant, each in task["compression"].items():
        table.add_row(variant, f"{each['bytes'] / 1e6:.1f}", *(f"{each[key]:.4g}" for key in shown))
    return table


def _gate(home: Path, seeds: int, text_seeds: int, console: "Console", json: str) -> None:
    """Plant bad and good candidates; exits with 1 if the gate mistook one."""
    from infra.bench.train.gate import Attempt, run, worlds

    def tell(one: Attempt) -> None:
        done = "[green]released[/]" if one.released else "[red]rejected[/]"
        console.print(f"{one.world} {one.seed}, {one.kind}: {done}, {one.reasons[0]}", soft_wrap=True)

    figures = run(home, worlds(home, seeds, text_seeds), tell)
    console.print(_table(figures))
    _write({"gate": figures} | _counts(figures), json)
    if figures["planted"]["released"] or figures["good"]["released"] < figures["good"]["tried"]:
        raise typer.Exit(1)


def _write(figures: dict[str, Any], json: str) -> None:
    """Write the figures where they are wanted."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)


def _counts(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the counts that every part's figures have at their top."""
    return {name: figures[name] for name in ("planted", "good")}


def _table(figures: dict[str, Any]) -> "Table":
    """Lay the counts out for people."""
    from rich.table import Table

    table = Table(title="planted candidates")
    table.add_column("kind")
    table.add_column("tried", justify="right")
    table.add_column("released", justify="right")
    for kind, counts in figures["kinds"].items():
        table.add_row(kind, str(counts["tried"]), str(counts["released"]))
    table.add_section()
    planted, good, undecided = figures["planted"], figures["good"], figures["undecided"]
    table.add_row("bad", str(planted["bad"]), str(planted["released"]))
    table.add_row("good, by a point or more as the gate saw it", str(good["tried"]), str(good["released"]))
    table.add_row("neither, as the gate saw it", str(undecided["tried"]), str(undecided["released"]))
    return table
