"""`headrace train`: a file of examples in, a tuned model with its figures out."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from infra.figures import write_figures
from infra.training import options as o
from trainers.recipe import Mode
from trainers.tasks.kinds import SENSORS

if TYPE_CHECKING:
    from rich.console import Console

    from infra.training.command import Files, Way
    from trainers.tasks.training import Order, Report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", help=o.HELP)(train)


def train(  # noqa: PLR0917  # typer takes parameters as options, in any order
    data: o.Data,
    task: o.Task,
    out: o.Out,
    base: o.Base = "minilm",
    mode: o.ModeName = Mode.HEAD,
    resume: o.Resume = False,
    test: o.Test = None,
    column: o.Column = None,
    features: o.Features = "",
    skip_bad: o.SkipBad = False,
    epochs: o.Epochs = 0,
    batch: o.Batch = 32,
    accumulate: o.Accumulate = 1,
    rate: o.Rate = 0.0,
    head_rate: o.HeadRate = 2e-3,
    top_layers: o.TopLayers = 2,
    rank: o.Rank = 8,
    patience: o.Patience = 3,
    validation: o.Validation = 0.1,
    max_tokens: o.MaxTokens = 128,
    gradient_checkpointing: o.Checkpointing = False,
    checkpoint_every: o.CheckpointEvery = 30.0,
    threads: o.Threads = 0,
    seed: o.Seed = 7,
    clusters: o.Clusters = 8,
    window: o.Window = 16,
    horizon: o.Horizon = 1,
    stream: o.StreamName = "",
    json: o.Json = "",
) -> None:
    """Tune a model on a file."""
    from infra.runtime.settings import home
    from infra.training.command import Files, Way, listed, roles
    from trainers.recipe import Recipe
    from trainers.tasks.training import Order

    recipe = Recipe(
        mode=Mode.FULL if task in SENSORS else mode, top_layers=top_layers, rank=rank,
        epochs=epochs or o.usual_epochs(task, mode), batch=batch, accumulate=accumulate,
        head_rate=head_rate, encoder_rate=rate, patience=patience, validation=validation,
        max_tokens=max_tokens, gradient_checkpointing=gradient_checkpointing, seed=seed,
    )  # fmt: skip
    order = Order(kind=task, base=base, recipe=recipe, window=window, horizon=horizon, clusters=clusters)
    files = Files(data, test, out, roles(column or []), listed(features), skip_bad, home())
    _run(order, files, Way(resume, checkpoint_every, threads), stream, json)


def _run(order: "Order", files: "Files", way: "Way", stream: str, json: str) -> None:
    from rich.console import Console

    from infra.runtime import log
    from infra.training.command import execute
    from trainers.fit import Interrupted
    from trainers.tasks.training import CHECKPOINT

    log.configure("train", level="error")
    console = Console(stderr=True, highlight=False)
    try:
        report, release = execute(order, files, way, console, stream)
    except Interrupted as error:
        left = (files.out / CHECKPOINT).is_file()
        advice = "the same command with --resume goes on" if left else "nothing was written; run it again"
        console.print(f"headrace: {error}; {advice}", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    _show(Console(stderr=json == "-", highlight=False), report, files.out)
    if release is not None:
        console.print(
            f"release {release.model} {release.version} is written; serve it with"
            f" `headrace models promote {release.model} {release.version}`",
            soft_wrap=True,
        )
    write_figures({**msgspec.to_builtins(report), "release": msgspec.to_builtins(release)}, json)


def _show(console: "Console", report: "Report", out: Path) -> None:
    """Lay the figures out for people."""
    from rich.table import Table

    rows, seconds = report.rows, report.seconds
    table = Table(title=f"{report.task}, {report.mode} of {report.base}", show_header=False)
    table.add_row(
        "rows", f"{rows['training']} to train, {rows['validation']} to validate, {rows['test']} to test"
    )
    for name, value in report.metrics.items():
        before = f" (before {report.before[name]:.4f})" if name in report.before else ""
        table.add_row(name, f"{value:.4f}{before}")
    for name, value in report.export.items():
        table.add_row(name.replace("_", " "), f"{value:.2g}" if "parity" in name else f"{value:.4f}")
    if report.weights["all"]:
        table.add_row("weights tuned", f"{report.weights['tuned']:,} of {report.weights['all']:,}")
    if report.losses:
        table.add_row("epochs", f"{len(report.losses)}, weights of number {report.kept_epoch + 1}")
    table.add_row("seconds", " · ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    table.add_row("written to", str(out))
    console.print(table)
