"""`headrace demo`: the whole loop in one terminal, on real components, with a closing report."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(  # noqa: PLR0917  # typer takes parameters as options, in any order
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Write the HTML report here (default: HOME/report.html).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 7,
    rate: Annotated[float, typer.Option(min=1.0, max=5000.0, help="Events a second.")] = 60.0,
    replay: Annotated[
        list[Path] | None,
        typer.Option(help="Feed this recorded file (JSONL, CSV, log lines) instead; may be repeated."),
    ] = None,
    stream: Annotated[str, typer.Option(help="The stream that a replay goes into.")] = "",
    history: Annotated[
        int | None, typer.Option(min=0, help="A replay's first events, which train the first model.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Replay no more than this many events.")] = None,
    label: Annotated[str, typer.Option(help="A table's label column: its name, or its number from 0.")] = "",
    text: Annotated[str, typer.Option(help="A table's text column: its name, or its number from 0.")] = "",
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether tables have a header row (default: look)."),
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="The same loop with shorter phases.")] = False,
    keep_up: Annotated[
        bool, typer.Option("--keep-up", help="Keep the stack up after the report, until Ctrl-C.")
    ] = False,
    home: Annotated[
        Path, typer.Option(help="The demo's own data folder; an earlier demo's is emptied.")
    ] = Path(".headrace/demo"),
) -> None:
    """Show the whole loop: traffic, drift, alert, training, release, swap; nothing lost or doubled."""
    from infra.demo.plan import SHORT, Phases, Plan, ReplaySource
    from infra.demo.run import execute

    if bool(replay) != bool(stream):
        raise typer.BadParameter("--replay FILE and --stream NAME go together")
    source = None
    if replay:
        source = ReplaySource(
            tuple(replay), stream, label=label, text=text, header=header, history=history, limit=limit
        )
    folder = home.absolute()
    plan = Plan(
        home=folder,
        seed=seed,
        rate=rate,
        phases=SHORT if short else Phases(),
        replay=source,
        json_path=json,
        report_path=(report or folder / "report.html").absolute(),
        keep_up=keep_up,
    )
    raise typer.Exit(execute(plan))
