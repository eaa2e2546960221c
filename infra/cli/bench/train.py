"""`headrace bench train`: what the trainers promise, measured: the gate, the loop."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Part(StrEnum):
    """What is measured."""

    GATE = "gate"
    LOOP = "loop"


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    home: Path
    console: "Console"
    seeds: int
    text_seeds: int
    rounds: int
    rate: float
    seed: int


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("train")(train)


def train(
    part: Annotated[
        list[Part] | None, typer.Option(help="What to measure; may be repeated. Default: everything.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, max=1000, help="gate: streams of readings.")] = 10,
    text_seeds: Annotated[int, typer.Option(min=0, max=1000, help="gate: streams of texts.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="loop: how often.")] = 3,
    rate: Annotated[float, typer.Option(min=1.0, max=5000.0, help="loop: requests a second.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 7,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-train"
    ),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Show that what is new is learnt, soon, and that nothing worse is released.

    gate: seventeen kinds of bad candidates, worse by 1, 2 and 5 points, broken,
    changed, stale, and good ones, all real models in real folders on the
    trainer's own way to the gate. Seven minutes on two cores.

    loop: the whole live system; seconds from a drift to the new model's first
    answer, with MiniLM beside live traffic. Three minutes a round.

    Exits with 1 if a bad candidate was released, a good one was not whose gain
    of a point or more the gate could see on its own 1,000 rows or more, or a
    round lost or doubled an event.

    For a quick look: --part gate --seeds 1 --text-seeds 0, half a minute.
    """
    import msgspec
    from rich.console import Console

    from infra.local.workspace import claim

    home = home.absolute()
    claim(home, "headrace bench train", ".headrace-bench-train")
    console = Console(stderr=json == "-", highlight=False)
    plan = Plan(home, console, seeds, text_seeds, rounds, rate, seed)
    figures: dict[str, Any] = {}
    good = True
    for each in dict.fromkeys(part or Part):
        found, passed = _MEASURED[each](plan)
        figures |= found
        good &= passed
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)
    if not good:
        raise typer.Exit(1)


def _gate(plan: Plan) -> tuple[dict[str, Any], bool]:
    import torch

    from infra.bench.train.gate import Attempt, run, worlds

    torch.set_num_threads(1)

    def tell(one: Attempt) -> None:
        done = "[green]released[/]" if one.released else "[red]rejected[/]"
        plan.console.print(f"{one.world} {one.seed}, {one.kind}: {done}, {one.reasons[0]}", soft_wrap=True)

    figures = run(plan.home, worlds(plan.home, plan.seeds, plan.text_seeds), tell)
    plan.console.print(_planted(figures))
    planted, good = figures["planted"], figures["good"]
    told = {"gate": figures, "planted": planted, "good": good}
    return told, not planted["released"] and good["released"] == good["tried"]


def _loop(plan: Plan) -> tuple[dict[str, Any], bool]:
    from infra.bench.train.loop import Round, run

    def tell(one: Round) -> None:
        for reason in one.falls_short:
            plan.console.print(f"seed {one.seed} fell short: {reason}", soft_wrap=True)

    figures = run(plan.home, plan.rounds, plan.rate, plan.seed, tell)
    plan.console.print(_rounds(figures))
    serving = figures["seconds"]["drift_to_serving"]
    told = {"loop": figures, "seconds": {"drift_to_serving": serving}}
    return told, not figures["lost"] and not figures["doubled"] and serving is not None


_MEASURED: Final[dict[Part, "Callable[[Plan], tuple[dict[str, Any], bool]]"]] = {
    Part.GATE: _gate,
    Part.LOOP: _loop,
}


def _planted(figures: dict[str, Any]) -> "Table":
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


def _rounds(figures: dict[str, Any]) -> "Table":
    """Lay the rounds out for people."""
    from rich.table import Table

    table = Table(title=f"drift to serving, {figures['rate']:g} requests/s", caption="seconds; median below")
    for name in ("seed", "drift → serving", "→ alert", "→ release", "→ swap", "accuracy before → after"):
        table.add_column(name, justify="right")
    table.add_column("p99 of an answer, steady → training (ms)", justify="right")
    for one in figures["rounds"]:
        waits = [one.prediction_ms.get(name) for name in ("steady", "training")]
        table.add_row(
            str(one.seed),
            *(_seconds(value) for value in one.seconds.values()),
            " → ".join(_share(one.accuracy[name]) for name in ("before", "after")),
            " → ".join(f"{wait['p99']:.0f}" if wait else "–" for wait in waits),
        )
    table.add_section()
    table.add_row("", *(_seconds(value) for value in figures["seconds"].values()), "", "")
    return table


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
