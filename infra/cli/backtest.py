"""`headrace backtest`: a recorded history in, what drift handling would have done with it out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from infra.backtest.plan import (
    TOLERANCE,
    Choice,
    ColumnPlan,
    DetectorName,
    ModelName,
    Plan,
    parse_delay,
    parse_drifts,
    split_names,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from infra.backtest.outcome import Outcome
    from infra.backtest.row import History

_SHOWN_ALERTS: Final = 20
_SHOWN_PROBLEMS: Final = 5

_FILES: Final = "Which columns"
_LABELS: Final = "When labels come"
_DRIFT: Final = "Drift"
_OUT: Final = "What comes out"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backtest")(backtest)


def backtest(  # noqa: PLR0917  # typer takes parameters as options, in any order
    files: Annotated[
        list[Path], typer.Argument(help="CSV, Parquet, JSON lines or ARFF; several are read in order.")
    ],
    model: Annotated[
        ModelName,
        typer.Option(help="What learns; auto: a pool for tables, text where a column is text."),
    ] = ModelName.AUTO,
    label: Annotated[
        str,
        typer.Option(
            help="The truth's column, by name or number from 0; default: the last.", rich_help_panel=_FILES
        ),
    ] = "",
    time: Annotated[
        str, typer.Option(help="The column of event time; default: file order.", rich_help_panel=_FILES)
    ] = "",
    text: Annotated[
        str, typer.Option(help="Columns that are text, with commas; default: look.", rich_help_panel=_FILES)
    ] = "",
    errors: Annotated[
        str, typer.Option(help="A column of error bits, for --model none.", rich_help_panel=_FILES)
    ] = "",
    drop: Annotated[
        str, typer.Option(help="Columns that nobody may read, with commas.", rich_help_panel=_FILES)
    ] = "",
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first row has names; default: look.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    train_rows: Annotated[
        int,
        typer.Option(
            min=0, help="First rows to train on, all labelled, before judging.", rich_help_panel=_LABELS
        ),
    ] = 0,
    label_delay: Annotated[
        str,
        typer.Option(help="So many rows later (500), or so much event time (5m).", rich_help_panel=_LABELS),
    ] = "",
    label_rate: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of the judged rows that are ever labelled.", rich_help_panel=_LABELS
        ),
    ] = 1.0,
    label_choice: Annotated[
        Choice,
        typer.Option(
            help="Those least sure of their answer (and a quarter at random), or all at random.",
            rich_help_panel=_LABELS,
        ),
    ] = Choice.UNCERTAIN,
    detector: Annotated[
        DetectorName, typer.Option(help="What watches the errors.", rich_help_panel=_DRIFT)
    ] = DetectorName.ENSEMBLE,
    reset_on_alarm: Annotated[
        bool,
        typer.Option(
            "--reset-on-alarm", help="A new learner at each alarm, and nothing else.", rich_help_panel=_DRIFT
        ),
    ] = False,
    drifts: Annotated[
        str,
        typer.Option(help="True drift points: rows from 0 with commas, or a file.", rich_help_panel=_DRIFT),
    ] = "",
    tolerance: Annotated[
        int, typer.Option(min=1, help="Rows within which an alarm has found a drift.", rich_help_panel=_DRIFT)
    ] = TOLERANCE,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Whether to run frozen and always-retrain too.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 7,
    json: Annotated[
        str,
        typer.Option(
            "--json", help="Write the figures as JSON; - for standard output.", rich_help_panel=_OUT
        ),
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Write a page with plots here.", rich_help_panel=_OUT)
    ] = None,
) -> None:
    """Replay a recorded, labelled history and show what drift handling would have done.

    Rows are taken in the order of their time, each is judged before its label is known, and labels come when
    you say. No broker, no headrace.toml.
    """
    from rich.console import Console

    from infra.backtest.run import execute, load

    console = Console(stderr=True, highlight=False)
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
    )
    history = load(plan)
    _say_problems(console, history)
    with _progress(console, len(history.rows)) as advance:
        outcome = execute(plan, history, advance)
    _show(Console(stderr=json == "-", highlight=False), outcome)
    if report is not None:
        from infra.backtest.report import write

        write(outcome, report)
        console.print(f"report: {report}")
    _write(outcome.figures(), json)


def _say_problems(console: "Console", history: "History") -> None:
    for problem in history.problems[:_SHOWN_PROBLEMS]:
        console.print(f"left out: {problem}", markup=False)
    if history.bad > _SHOWN_PROBLEMS:
        console.print(f"left out: {history.bad - _SHOWN_PROBLEMS} lines more")
    if history.disordered:
        console.print(f"{history.disordered} rows came before their predecessor's time and were sorted in")


def _progress(console: "Console", rows: int) -> Any:
    """Show how many rows are done, on a terminal only."""
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def shown() -> Iterator[Callable[[int], None]]:
        columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("rows", total=rows)
            yield lambda done: progress.update(task, completed=done)

    return shown()


def _write(figures: dict[str, Any], json: str) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)


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
    table.add_row("labels used", f"{figures['labels_used']} of {figures['judged']} judged rows")
    _events(table, figures)
    table.add_row("seconds", " · ".join(f"{name} {value:.1f}" for name, value in figures["seconds"].items()))
    console.print(table)


def _events(table: "Table", figures: dict[str, Any]) -> None:
    table.add_section()
    shown = ", ".join(str(alert["row"]) for alert in figures["alerts"][:_SHOWN_ALERTS])
    more = ", …" if len(figures["alerts"]) > _SHOWN_ALERTS else ""
    table.add_row("alerts", f"{len(figures['alerts'])}" + (f" at row {shown}{more}" if shown else ""))
    drifts = figures["drifts"]
    if drifts["given"]:
        delay = "" if drifts["mean_delay"] is None else f", {drifts['mean_delay']:.1f} rows later on average"
        table.add_row("true drifts", f"{drifts['found']} of {drifts['given']} found{delay}")
        table.add_row("false alarms", str(drifts["false"]))
    for name in ("trainings", "releases", "rejections", "rollbacks"):
        table.add_row(name, str(len(figures[name])))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
