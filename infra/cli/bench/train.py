"""`headrace bench train`: what the trainers promise, measured."""

from pathlib import Path
from typing import Annotated, Any

import typer

from infra.bench.train.parts import MEASURE, Part, Plan
from infra.figures import write_figures

_NEED_DATA = frozenset({Part.FORGETTING, Part.COMPRESSION})

_HELP = """
Show that what is new is learnt soon, what is old is kept, and nothing worse is released.

gate: seventeen kinds of bad candidates, worse by 1, 2 and 5 points, broken,
changed, stale, and good ones, all real models in real folders on the
trainer's own way to the gate. Seven minutes on two cores.

loop: the whole live system; seconds from a drift to the new model's first
answer, with MiniLM beside live traffic. Three minutes a round.

forgetting: points lost on old data after five increments, of intents whose
domains arrive one after another and of gas sensors that drift, with each
remedy and without. Three minutes a stream of texts, half a minute one of
readings.

recurring: seconds from a drift to a release where an earlier concept comes
back, with learn.recall and without. A minute.

compression: every variant of two text models, its size, latency and quality,
and INT8 against eager torch on short lines. Ten minutes.

Exits with 1 if a bad candidate was released, a good one was not whose gain
of a point or more the gate could see on its own 1,000 rows or more, a round
lost or doubled an event, more than 0.6 points are forgotten, a returning
concept is not brought back, or INT8 is not three times as fast as torch.

For a quick look: --part gate --seeds 1 --text-seeds 0, half a minute.
"""


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("train", help=_HELP)(train)


def train(  # noqa: PLR0917  # typer takes parameters as options, in any order
    part: Annotated[
        list[Part] | None, typer.Option(help="What to measure; may be repeated. Default: everything.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, max=1000, help="gate: streams of readings.")] = 10,
    text_seeds: Annotated[int, typer.Option(min=0, max=1000, help="gate: streams of texts.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="loop: how often.")] = 3,
    rate: Annotated[float, typer.Option(min=1.0, max=5000.0, help="loop: requests a second.")] = 60.0,
    rows: Annotated[int, typer.Option(min=300, help="compression: rows of each file of texts.")] = 4000,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="HEADRACE_DATA",
            help="forgetting, compression: the folder of clinc150, gas_sensor_drift and http_params.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 7,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-train"
    ),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Measure what the trainers promise."""
    from rich.console import Console

    from infra.local.workspace import claim

    home = home.absolute()
    claim(home, "headrace bench train", ".headrace-bench-train")
    console = Console(stderr=json == "-", highlight=False)
    plan = Plan(home, console, seeds, text_seeds, rounds, rate, rows, seed, data)
    wanted = dict.fromkeys(part or [each for each in Part if data is not None or each not in _NEED_DATA])
    if not part and data is None:
        console.print(f"without --data, these are left out: {', '.join(sorted(_NEED_DATA))}")
    figures: dict[str, Any] = {}
    good = True
    for each in wanted:
        found, passed = MEASURE[each](plan)
        figures |= found
        good &= passed
    write_figures(figures, json)
    if not good:
        raise typer.Exit(1)
