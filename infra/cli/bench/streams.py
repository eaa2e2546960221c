"""`headrace bench streams`: runs the same job on Headrace and its peers and prints their rates."""

from pathlib import Path
from typing import Annotated, Any

import typer

from infra.figures import write_figures

JsonOption = Annotated[
    str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
]
RoundsOption = Annotated[int, typer.Option(min=1, help="Rounds; each runs every engine once.")]
EnginesOption = Annotated[
    str,
    typer.Option(
        help="Only these, with commas: headrace, headrace_at_least_once, headrace_flink, flink_sql, bytewax,"
        " quix, faust."
    ),
]
EventsOption = Annotated[
    int, typer.Option(min=1000, help="Timed events for Headrace; slower engines get their share.")
]
PartitionsOption = Annotated[int, typer.Option(min=1, help="Partitions of input and output.")]
HomeOption = Annotated[
    Path, typer.Option(help="The benchmark's own folder: a broker's data, the peers' environments, logs.")
]
PlotOption = Annotated[Path | None, typer.Option(help="Draw the figures into this .svg or .png.")]
ProfileOption = Annotated[
    bool, typer.Option("--profile", help="Also run Headrace under py-spy and tell where its CPU time goes.")
]


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("streams")(streams)


def streams(
    json: JsonOption = "",
    rounds: RoundsOption = 3,
    engines: EnginesOption = "",
    events: EventsOption = 1_000_000,
    partitions: PartitionsOption = 4,
    home: HomeOption = Path(".headrace/bench"),
    plot: PlotOption = None,
    profile: ProfileOption = False,
) -> None:
    """Compare the stream side's speed with Flink SQL, Bytewax, Quix Streams and plain Faust.

    The job: read CloudEvents (sensor readings as JSON, 275 bytes, keyed by source) from a topic; decode;
    check that each is a CloudEvent with id, source, time and data; drop exact duplicates by source and id
    (5 % of the input); write the time as ISO 8601 in UTC; encode; produce to a topic keyed by source. Exactly
    once where the engine can, else the most it can. Headrace runs its real worker with its built-in
    configuration, which does more: routing, repair, units, outliers, coordinates, flags, a changelog.

    A broker is started for the run. Each engine is one worker process (Flink: one TaskManager with two
    tasks, as a JVM engine uses both cores) and warms up on events of its own. Then all timed events become
    visible at one moment, by the commit of the transaction that published them. The rate is their number by
    the time from there to the broker's time stamp on the last committed output. Every output is read
    afterwards: what was lost, doubled or given a wrong time is counted.

    Peers are installed on first use, with pinned versions, in environments of their own (uv, Maven). One that
    fails is reported with the end of its log, and the exit status is 1.

    A look that takes a minute: headrace bench streams --engines headrace,bytewax --events 50000 --rounds 1
    """
    from infra.bench.streams.profile import lines
    from infra.bench.streams.profile import profile as profiled
    from infra.bench.streams.report import plot as draw
    from infra.bench.streams.report import sentences
    from infra.bench.streams.rounds import Plan, compare

    _quiet_clients()
    plan = Plan(home.absolute(), _chosen(engines), events, partitions, rounds)

    def say(line: str) -> None:
        typer.echo(line, err=True)

    figures = compare(plan, say)
    if profile:
        figures["profile"] = profiled(plan, say)
    if plot is not None:
        draw(figures, plot)
    if json != "-":
        _show(figures)
        typer.echo(sentences(figures))
        if profile:
            typer.echo("\n".join(lines(figures["profile"])))
    if json:
        write_figures(figures, json)
    if any(engine.get("failed") for engine in figures["engines"].values()):
        raise typer.Exit(1)


def _chosen(names: str) -> tuple[str, ...]:
    from infra.bench.streams.engines import ENGINES

    chosen = tuple(name.strip() for name in names.split(",") if name.strip()) or tuple(ENGINES)
    unknown = [name for name in chosen if name not in ENGINES]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(ENGINES)}", param_hint="--engines"
        )
    return chosen


def _quiet_clients() -> None:
    """A topic that was created a moment ago has no leader yet; the client warns and tries again."""
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _show(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "engine", "guarantee", "events/s", "rounds", "Headrace is", "CPU µs", "lost", "doubled", box=None
    )
    for name, engine in figures["engines"].items():
        if engine["median"] is None:
            table.add_row(name, engine["guarantee"], "failed")
            continue
        ratio = figures["ratios"].get(name)
        table.add_row(
            name,
            engine["guarantee"],
            f"{engine['median']:,}",
            " ".join(f"{rate:,}" for rate in engine["events_per_s"]),
            f"{ratio:.2f} ×" if ratio else "",
            f"{engine['cpu_us_per_event']:.1f}",
            str(engine["lost"]),
            str(engine["doubled"]),
        )
    Console(width=140).print(table)
