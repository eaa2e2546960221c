"""`headrace tune`: finds the numbers of a training by trying, and trains with the best."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from infra.training import options as o
from trainers.recipe import Mode
from trainers.tasks.kinds import SENSORS, Kind

if TYPE_CHECKING:
    from rich.console import Console

    from infra.search.command import Result

_SEARCH: Final = "How it is searched"
_LONG: Final = 30
_SHORT: Final = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune")(tune)


def tune(  # noqa: PLR0917  # typer takes parameters as options, in any order
    data: o.Data,
    task: o.Task,
    out: Annotated[Path, typer.Option(help="The folder of the search; the same command goes on in it.")],
    base: o.Base = "minilm",
    mode: o.ModeName = Mode.HEAD,
    sampler: Annotated[
        str,
        typer.Option(
            help="bayesian: by a model of what was good (TPE); random; or grid: every combination.",
            rich_help_panel=_SEARCH,
        ),
    ] = "bayesian",
    trials: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most, all calls together.", rich_help_panel=_SEARCH)
    ] = 30,
    budget: Annotated[
        str,
        typer.Option(help="Time for this call, such as 10m or 2h; none: no limit.", rich_help_panel=_SEARCH),
    ] = "",
    pruner: Annotated[
        str,
        typer.Option(
            help="median: end a trial that is behind the median of the others; hyperband; or off.",
            rich_help_panel=_SEARCH,
        ),
    ] = "median",
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C; may be repeated. Default: by task.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    test: o.Test = None,
    column: o.Column = None,
    features: o.Features = "",
    skip_bad: o.SkipBad = False,
    epochs: o.Epochs = 0,
    validation: o.Validation = 0.1,
    max_tokens: o.MaxTokens = 128,
    threads: o.Threads = 0,
    seed: o.Seed = 7,
    window: o.Window = 16,
    horizon: o.Horizon = 1,
    json: o.Json = "",
) -> None:
    r"""Search the numbers of a training: try, compare on validation rows, train with the best.

    \b
    What is worth trying by default, thirty times:
      headrace tune intents.csv --task classification --out tuned
    For ten minutes, with what you want to know:
      headrace tune intents.csv --task classification --mode lora --budget 10m \
        --space rank=4,8,16 --space encoder_rate=1e-4..1e-2:log --out lora
    Every combination:
      headrace tune machine.csv --task anomaly --sampler grid \
        --space head_rate=1e-3..1e-2:log --space batch=32,64 --out odd

    The test rows are not seen before the end. OUT has the best model in `best`,
    every trial in `tune.json`, and `tune.html` with plots. Ctrl-C and kill -9
    cost the trial in hand: the same command goes on; more --trials go further.

    Parameters: mode, head_rate, encoder_rate, weight_decay, warmup, clip, batch,
    accumulate, epochs, rank (lora), top_layers (top-k), max_tokens, window (forecast).
    """
    import os

    from infra.runtime.settings import home
    from infra.search.command import execute
    from infra.training.command import Files, roles
    from schemas.errors import Fatal
    from schemas.section import duration_s
    from trainers.recipe import Recipe
    from trainers.search.space import parsed, usual
    from trainers.search.study import Pruner, Sampler, Wish
    from trainers.tasks.training import Order

    quick = task in SENSORS or (mode is Mode.HEAD and task is Kind.CLASSIFICATION)
    recipe = Recipe(
        mode=Mode.FULL if task in SENSORS else mode, epochs=epochs or (_LONG if quick else _SHORT),
        validation=validation, max_tokens=max_tokens, seed=seed,
    )  # fmt: skip
    order = Order(kind=task, base=base, recipe=recipe, window=window, horizon=horizon)
    for name, given, known in (("sampler", sampler, Sampler), ("pruner", pruner, Pruner)):
        if given not in set(known):
            raise Fatal(f"--{name} {given}: there are {', '.join(known)}")
    try:
        limit = float(duration_s(budget)) if budget else float("inf")
    except ValueError as error:
        raise Fatal(f"--budget {budget}: {error}") from error
    wish = Wish(
        space=parsed(space) if space else usual(order), sampler=Sampler(sampler), pruner=Pruner(pruner),
        trials=trials, budget_s=limit,
    )  # fmt: skip
    named = tuple(name.strip() for name in features.split(",") if name.strip())
    files = Files(data, test, out, roles(column or []), named, skip_bad, home())

    from rich.console import Console

    from infra.runtime import log
    from trainers.fit import Interrupted

    log.configure("tune", level="error")
    console = Console(stderr=True, highlight=False)
    try:
        result = execute(order, wish, files, threads or os.cpu_count() or 1, console)
    except Interrupted as error:
        console.print(f"headrace: {error}; the same command goes on", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    _show(Console(stderr=json == "-", highlight=False), result, out)
    _write(result, json)


def _write(result: "Result", json: str) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)


def _show(console: "Console", result: "Result", out: Path) -> None:
    """Lay the outcome out for people."""
    from rich.table import Table

    from infra.search.command import BEST, PAGE, worded

    found, report = result.found, result.report
    table = Table(title=f"{result.task}, {result.wish.sampler} search: {found.ended}", show_header=False)
    early = sum(trial.state == "pruned" for trial in found.trials)
    table.add_row("trials", f"{len(found.trials)}, {early} of them ended early")
    usual = next((trial for trial in found.trials if trial.is_default), None)
    before = f" (with what train takes by default: {usual.value:.5g})" if usual and usual.value else ""
    table.add_row("best on validation rows", f"{found.best.value:.5g}{before}")
    table.add_row("with", worded(found.best.values))
    if found.importance:
        table.add_row("what mattered", ", ".join(f"{n} {share:.0%}" for n, share in found.importance.items()))
    for name, value in report.metrics.items():
        table.add_row(f"test rows: {name}", f"{value:.4f}")
    table.add_row("model", str(out / BEST))
    table.add_row("page", str(out / PAGE))
    console.print(table)
