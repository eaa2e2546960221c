"""`headrace bench predict`: real log lines answered on a stream, with the cache, every answer checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.figures import write_figures
from schemas.errors import Fatal

if TYPE_CHECKING:
    from rich.table import Table


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("predict")(predict)


def predict(
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="HEADRACE_DATA", help="The folder of loghub's structured logs, or the one that has it."
        ),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, max=100, help="How often all lines come.")] = 3,
    new: Annotated[
        int, typer.Option(min=1, max=100_000, help="Lines after that whose texts come only once.")
    ] = 1500,
    lines: Annotated[int, typer.Option(min=0, help="Only so many lines; 0: all.")] = 0,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-predict"
    ),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Answer real log lines with MiniLM INT8, and show that the cache changes no answer.

    A real broker, Redis and the serving worker as `headrace up` runs it; 6,000
    lines of Apache, HDFS and OpenSSH. The first pass finds the cache empty.
    Then texts that come only once: what there would be without a cache. Every
    answer is compared with the model's own, asked without any cache.

    Exits with 1 if fewer than 2,000 lines a second are answered in the first
    pass, or an answer is missing, doubled or another than the model's own.
    """
    from rich.console import Console

    from infra.bench.predict.run import PredictPlan, execute
    from infra.runtime import log

    if data is None:
        raise Fatal("--data (or HEADRACE_DATA) names the folder of loghub's structured logs")
    log.configure("bench", level="error")
    console = Console(stderr=json == "-", highlight=False)
    folder = data / "loghub" if (data / "loghub").is_dir() else data
    plan = PredictPlan(home.absolute(), folder.absolute(), passes=passes, new=new, lines=lines)
    figures = execute(plan, console.print)
    console.print(_table(figures))
    write_figures(figures, json)
    faults = any(figures[name] for name in ("lost", "doubled", "changed"))
    if faults or figures["lines_per_s"] < figures["goal"]:
        raise typer.Exit(1)


def _table(figures: dict[str, Any]) -> "Table":
    """Lay the figures out for people."""
    from rich.table import Table

    table = Table(title=f"{figures['lines']} log lines, {figures['texts']} texts of their own")
    for name in ("pass", "lines", "lines/s", "from the cache"):
        table.add_column(name, justify="left" if name == "pass" else "right")
    for name, found in figures["passes"].items():
        rate = f"{found['lines_per_s']:,.0f}"
        table.add_row(name, str(found["lines"]), rate, f"{100 * found['cached']:.1f} %")
    counts = ", ".join(f"{name} {figures[name]}" for name in ("checked", "lost", "doubled", "changed"))
    table.caption = f"{counts}; goal {figures['goal']:,.0f} lines/s in the first pass"
    return table
