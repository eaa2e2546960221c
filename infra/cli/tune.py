"""`headrace tune`: finds the numbers of a training by trying, and trains with the best."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from infra.figures import write_figures
from infra.search import options as p
from infra.training import options as o
from trainers.recipe import Mode
from trainers.search.kinds import Pruner, Sampler
from trainers.tasks.kinds import SENSORS

if TYPE_CHECKING:
    from rich.console import Console

    from infra.search.command import Result
    from infra.training.command import Files
    from trainers.search.study import Wish
    from trainers.tasks.training import Order


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune", help=p.HELP)(tune)


def tune(  # noqa: PLR0917  # typer takes parameters as options, in any order
    data: o.Data,
    task: o.Task,
    out: p.Out,
    base: o.Base = "minilm",
    mode: o.ModeName = Mode.HEAD,
    sampler: p.SamplerName = Sampler.BAYESIAN,
    trials: p.Trials = 30,
    budget: p.Budget = "",
    pruner: p.PrunerName = Pruner.MEDIAN,
    space: p.Spaces = None,
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
    """Search the numbers of a training."""
    from infra.runtime.settings import home
    from infra.training.command import Files, listed, roles
    from trainers.recipe import Recipe
    from trainers.search.space import parsed, usual
    from trainers.search.study import Wish
    from trainers.tasks.training import Order

    recipe = Recipe(
        mode=Mode.FULL if task in SENSORS else mode, epochs=epochs or o.usual_epochs(task, mode),
        validation=validation, max_tokens=max_tokens, seed=seed,
    )  # fmt: skip
    order = Order(kind=task, base=base, recipe=recipe, window=window, horizon=horizon)
    wish = Wish(
        space=parsed(space) if space else usual(order), sampler=sampler, pruner=pruner,
        trials=trials, budget_s=_seconds(budget),
    )  # fmt: skip
    files = Files(data, test, out, roles(column or []), listed(features), skip_bad, home())
    _run(order, wish, files, threads, json)


def _seconds(budget: str) -> float:
    from schemas.errors import Fatal
    from schemas.section import duration_s

    try:
        return float(duration_s(budget)) if budget else float("inf")
    except ValueError as error:
        raise Fatal(f"--budget {budget}: {error}") from error


def _run(order: "Order", wish: "Wish", files: "Files", threads: int, json: str) -> None:
    import os

    from rich.console import Console

    from infra.runtime import log
    from infra.search.command import execute
    from trainers.fit import Interrupted

    log.configure("tune", level="error")
    console = Console(stderr=True, highlight=False)
    try:
        result = execute(order, wish, files, threads or os.cpu_count() or 1, console)
    except Interrupted as error:
        console.print(f"headrace: {error}; the same command goes on", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    _show(Console(stderr=json == "-", highlight=False), result, files.out)
    write_figures(result, json)


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
