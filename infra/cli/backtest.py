"""`headrace backtest`: a recorded history in, what drift handling would have done with it out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from infra.backtest import options as o
from infra.backtest.plan import (
    TOLERANCE,
    Choice,
    ColumnPlan,
    ModelName,
    Plan,
    parse_delay,
    parse_drifts,
    parse_training_time,
    split_names,
)
from infra.figures import write_figures

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from infra.backtest.outcome import Outcome
    from infra.backtest.row import History

_SHOWN_ALERTS: Final = 20
_SHOWN_PROBLEMS: Final = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backtest", help=o.HELP)(backtest)


def backtest(  # noqa: PLR0917  # typer takes parameters as options, in any order
    files: o.Files,
    model: o.Model = ModelName.AUTO,
    label: o.Label = "",
    time: o.Time = "",
    stream: o.StreamName = "",
    text: o.Text = "",
    errors: o.Errors = "",
    drop: o.Drop = "",
    header: o.Header = None,
    train_rows: o.TrainRows = 0,
    label_delay: o.LabelDelay = "",
    label_rate: o.LabelRate = 1.0,
    label_choice: o.LabelChoice = Choice.UNCERTAIN,
    detector: o.Detector = None,
    reset_on_alarm: o.ResetOnAlarm = False,
    drifts: o.Drifts = "",
    tolerance: o.Tolerance = TOLERANCE,
    baselines: o.Baselines = True,
    training_time: o.TrainingTime = "",
    seed: o.Seed = 7,
    json: o.Json = "",
    report: o.Report = None,
) -> None:
    """Replay a recorded, labelled history and show what drift handling would have done."""
    plan = Plan(
        files=tuple(files),
        columns=ColumnPlan(label, time, errors, split_names(text), split_names(drop), header),
        model=model,
        delay=parse_delay(label_delay),
        label_rate=label_rate,
        choice=label_choice,
        detector=detector,
        reset_on_alarm=reset_on_alarm,
        drifts=parse_drifts(drifts),
        tolerance=tolerance,
        train_rows=train_rows,
        baselines=baselines,
        seed=seed,
        stream=stream,
        training_s=parse_training_time(training_time),
    )
    plan.check()
    _run(plan, json, report)


def _run(plan: Plan, json: str, report: Path | None) -> None:
    from rich.console import Console

    from infra.backtest.run import execute, execute_live, load
    from infra.runtime import log

    console = Console(stderr=True, highlight=False)
    log.configure("backtest", level="error")
    try:
        with _progress(console) as begin:
            if plan.stream:
                outcome = execute_live(plan, begin)
            else:
                history = load(plan)
                outcome = execute(plan, history, begin(len(history.rows)))
    except KeyboardInterrupt:
        console.print("headrace: interrupted; nothing was written")
        raise typer.Exit(130) from None
    _say_problems(console, outcome.history)
    _show(Console(stderr=json == "-", highlight=False), outcome)
    if report is not None:
        from infra.backtest.report import write

        write(outcome, report)
        console.print(f"report: {report}", soft_wrap=True)
    write_figures(outcome.figures(), json)


def _say_problems(console: "Console", history: "History") -> None:
    for problem in history.problems[:_SHOWN_PROBLEMS]:
        console.print(f"left out: {problem}", markup=False)
    if history.bad > _SHOWN_PROBLEMS:
        console.print(f"left out: {history.bad - _SHOWN_PROBLEMS} lines more")
    if history.disordered:
        console.print(f"{history.disordered} rows came before their predecessor's time and were sorted in")


def _progress(console: "Console") -> Any:
    """Show how many rows are done, on a terminal only."""
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def shown() -> Iterator[Callable[[int], Callable[[int], None]]]:
        columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

            def begin(rows: int) -> Callable[[int], None]:
                task = progress.add_task("rows", total=rows)
                return lambda done: progress.update(task, completed=done)

            yield begin

    return shown()


def _show(console: "Console", outcome: "Outcome") -> None:
    """Lay the figures out for people."""
    from rich.table import Table

    figures = outcome.figures()
    table = Table(title=f"{figures['rows']} rows, {outcome.model}", show_header=False)
    table.add_row("accuracy", _percent(figures["accuracy"]))
    for name, value in figures["baselines"].items():
        if value is not None:
            table.add_row(f"  {name.replace('_', ' ')}", _percent(value))
    table.add_row("macro F1", _percent(figures["f1_macro"]))
    kappa = figures["kappa_temporal"]
    table.add_row("kappa-temporal", "–" if kappa is None else f"{kappa:.3f}")
    if len(figures["by_file"]) > 1:
        for file in figures["by_file"]:
            table.add_row(f"  {file['file']}", _percent(file["accuracy"]))
    table.add_row("labels used", f"{figures['labels_used']} ({figures['judged']} rows judged)")
    _events(table, figures)
    table.add_row("seconds", " · ".join(f"{name} {value:.1f}" for name, value in figures["seconds"].items()))
    console.print(table)


def _events(table: "Table", figures: dict[str, Any]) -> None:
    table.add_section()
    for kind in dict.fromkeys(["error", *(alert["kind"] for alert in figures["alerts"])]):
        rows = [str(alert["row"]) for alert in figures["alerts"] if alert["kind"] == kind]
        more = ", …" if len(rows) > _SHOWN_ALERTS else ""
        at = f" at row {', '.join(rows[:_SHOWN_ALERTS])}{more}" if rows else ""
        table.add_row(f"{kind} alerts", f"{len(rows)}{at}")
    drifts = figures["drifts"]
    if drifts["given"]:
        delay = "" if drifts["mean_delay"] is None else f", {drifts['mean_delay']:.1f} rows later on average"
        table.add_row("true drifts", f"{drifts['found']} of {drifts['given']} found by errors{delay}")
        table.add_row("false alarms", str(drifts["false"]))
        for kind, part in drifts["other_alerts"].items():
            table.add_row(
                f"  by {kind} alerts", f"{part['found']} of {part['given']}, {part['false']} others"
            )
    for name in ("trainings", "waits", "releases", "rejections", "rollbacks"):
        table.add_row(name, str(len(figures[name])))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
