"""`headrace bench train`: planted candidates against the gate, good and bad."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


class Part(StrEnum):
    """What is measured."""

    GATE = "gate"


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
    """
    import msgspec
    import torch
    from rich.console import Console

    from infra.bench.train.gate import Attempt, run, worlds
    from infra.local.workspace import claim

    torch.set_num_threads(1)
    console = Console(stderr=json == "-", highlight=False)
    home = home.absolute()
    claim(home, "headrace bench train", ".headrace-bench-train")

    def tell(one: Attempt) -> None:
        done = "[green]released[/]" if one.released else "[red]rejected[/]"
        console.print(f"{one.world} {one.seed}, {one.kind}: {done}, {one.reasons[0]}", soft_wrap=True)

    figures = run(home, worlds(home, seeds, text_seeds), tell)
    console.print(_table(figures))
    text = msgspec.json.format(msgspec.json.encode({"gate": figures} | _counts(figures)), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)
    if figures["planted"]["released"] or figures["good"]["released"] < figures["good"]["tried"]:
        raise typer.Exit(1)


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
