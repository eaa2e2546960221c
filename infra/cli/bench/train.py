"""`headrace bench train`: planted candidates against the gate, what increments forget, what comes back."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from schemas.errors import Fatal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Part(StrEnum):
    """What is measured."""

    GATE = "gate"
    FORGETTING = "forgetting"
    RECURRING = "recurring"


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("train")(train)


def train(
    part: Annotated[Part, typer.Option(help="What to measure.")] = Part.GATE,
    seeds: Annotated[int, typer.Option(min=0, max=1000, help="Streams of readings.")] = 10,
    text_seeds: Annotated[int, typer.Option(min=0, max=1000, help="Streams of texts, with MiniLM.")] = 2,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="HEADRACE_DATA", help="Of forgetting: the folder of clinc150 and gas_sensor_drift."
        ),
    ] = None,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-train"
    ),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Measure the gate, what increments forget, or what bringing a version back saves.

    gate: the gate releases what is better and nothing that is bad. Each stream
    has 17 or 18 bad candidates: worse by 1, 2 and 5 points, NaN and infinite
    weights, swapped labels, a head of another shape, a graph or weights cut
    short or changed by one bit, another model's graph, a stale tokenizer and
    more; and some that are better by 1 to 5 points. All are real models in real
    folders, and go the trainer's own way to the gate.

    Exits with 1 if a bad one was released, or a good one was not whose gain
    of a point or more the gate could see on its own 1,000 rows or more.

    Seven minutes on two cores; half a minute with --seeds 1 --text-seeds 0.

    forgetting: points lost on old data after five increments, of intents whose
    domains arrive one after another and of gas sensors that drift, with each
    remedy and without; exits with 1 beyond 0.6 points. Two to three minutes a
    stream of texts, half a minute one of readings.

    recurring: seconds from a drift to a release where an earlier concept comes
    back, with learn.recall and without.
    """
    import msgspec
    import torch
    from rich.console import Console

    from infra.local.workspace import claim

    torch.set_num_threads(1)
    console = Console(stderr=json == "-", highlight=False)
    home = home.absolute()
    claim(home, "headrace bench train", ".headrace-bench-train")

    measure = {Part.GATE: _gate, Part.FORGETTING: _forgetting, Part.RECURRING: _recurring}[part]
    figures, reached = measure(_Asked(home, seeds, text_seeds, data), console)
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)
    if not reached:
        raise typer.Exit(1)


class _Asked(NamedTuple):
    """What every part measures with."""

    home: Path
    seeds: int
    text_seeds: int
    data: Path | None


def _gate(asked: _Asked, console: "Console") -> tuple[dict[str, Any], bool]:
    """Return the figures of planted candidates, and whether none was judged wrongly."""
    from infra.bench.train.gate import Attempt, run, worlds

    def tell(one: Attempt) -> None:
        done = "[green]released[/]" if one.released else "[red]rejected[/]"
        console.print(f"{one.world} {one.seed}, {one.kind}: {done}, {one.reasons[0]}", soft_wrap=True)

    figures = run(asked.home, worlds(asked.home, asked.seeds, asked.text_seeds), tell)
    console.print(_table(figures))
    wrong = figures["planted"]["released"] or figures["good"]["released"] < figures["good"]["tried"]
    return {"gate": figures} | _counts(figures), not wrong


def _forgetting(asked: _Asked, console: "Console") -> tuple[dict[str, Any], bool]:
    """Return the figures of arriving streams, and whether little enough is forgotten."""
    from infra.bench.train.arriving import gases, intents
    from infra.bench.train.forgetting import GOAL, Course, run

    if asked.data is None:
        raise Fatal("--data (or HEADRACE_DATA) names the folder in which clinc150 and gas_sensor_drift lie")
    streams = [
        *(intents(asked.data, seed) for seed in range(1, asked.text_seeds + 1)),
        *(gases(asked.data, seed) for seed in range(1, asked.seeds + 1)),
    ]

    def tell(one: Course) -> None:
        lost, right = f"{one.forgetting:+.2f} points forgotten", f"{one.accuracy:.2f} % right at the end"
        console.print(f"{one.task} {one.seed}, {one.variant}: {lost}, {right}, {one.released} of 5 released")

    figures = run(asked.home, streams, tell)
    console.print(_lost(figures))
    return figures, figures["forgetting"] <= GOAL


def _recurring(asked: _Asked, console: "Console") -> tuple[dict[str, Any], bool]:
    """Return the figures of concepts that come back, and whether every earlier version was found."""
    from infra.bench.train.recurring import Return, run

    def tell(one: Return) -> None:
        made = f"version {one.version} serves" if one.released else "rejected"
        console.print(f"{one.kind} {one.seed}, recall {one.recall}: {made} after {one.seconds:.2f} s")

    figures = run(asked.home, asked.seeds, asked.text_seeds, tell)
    for kind, found in figures["recurring"].items():
        seconds = f"{found['recalled_s']:.2f} s where {found['trained_s']:.2f} s were trained"
        console.print(f"{kind}: {found['brought_back']} of {found['returns']} brought back, {seconds}")
    return figures, all(one["brought_back"] == one["returns"] for one in figures["recurring"].values())


def _lost(figures: dict[str, Any]) -> "Table":
    """Lay out what was forgotten: mean and standard deviation over seeds, in points."""
    from rich.table import Table

    table = Table(title="after five increments, points of accuracy on held-out rows")
    for name in (
        "stream",
        "learnt by",
        "forgotten",
        "dropped",
        "right at the end",
        "newest",
        "released",
        "s",
    ):
        table.add_column(name, justify="left" if name in ("stream", "learnt by") else "right")
    for task, variants in figures["tasks"].items():
        for variant, found in variants.items():
            spread = (
                f"{found[name]['mean']:.2f} ± {found[name]['sd']:.2f}"
                for name in ("forgetting", "dropped", "accuracy", "newest")
            )
            released = f"{found['released']} of {found['increments']}"
            table.add_row(task, variant, *spread, released, f"{found['seconds']['mean']:.0f}")
        table.add_section()
    return table


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
