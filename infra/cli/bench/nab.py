"""`headrace bench nab`: the detector of anomalies in one metric, on the Numenta Anomaly Benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from infra.figures import write_figures


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("nab")(nab)


def nab(
    folder: Annotated[Path, typer.Argument(help="A folder with data/ and labels/combined_windows.json.")],
    detectors: Annotated[
        str,
        typer.Option(
            help="Only these, with commas: novelty, half_space_trees, windowed_gaussian, random, null."
        ),
    ] = "",
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with a plot of every series here.")
    ] = None,
) -> None:
    """Score the anomaly detector on series with labelled anomalies, beside simple peers.

    The folder is the Numenta Anomaly Benchmark's, or one of your own that is
    laid out as it is:

      git clone --depth 1 https://github.com/numenta/NAB
      headrace bench nab NAB --report nab.html

    data/GROUP/NAME.csv holds rows of timestamp,value;
    labels/combined_windows.json names for each file the first and last time of
    every window in which an anomaly should be told ("[]" where there is none).

    Detectors see one reading after the other, each series anew, with one
    setting for all. The score is NAB's: a window is worth its earliest alarm,
    up to 1, the sooner the more; an alarm outside costs .11, a missed window 1
    (standard); false alarms cost twice as much with reward_low_FP_rate, misses
    with reward_low_FN_rate. The first 15 % of a series, of 5,000 readings at
    most, are not judged. 0 is a detector that never alarms, 100 one that finds
    everything at once and nothing else.

    NAB lets each detector have the threshold that is best over all series of
    the run, which flatters every detector alike; what ours scores at its own
    threshold is shown below the table.

    Half a minute on the whole benchmark; four seconds with --detectors novelty.
    """
    from infra.bench.nab.corpus import read
    from infra.bench.nab.report import tables
    from infra.bench.nab.run import figures, score_all

    names = _chosen(detectors)
    corpus = read(folder)
    scored = score_all(corpus, names, lambda line: typer.echo(typer.style(line, dim=True), err=True))
    measured = figures(corpus, scored)
    typer.echo(tables(measured), err=json == "-")
    write_figures(measured, json)
    if report is not None:
        from infra.bench.nab.page import write as write_page

        write_page(report, measured, corpus, scored[names[0]].scores)
        typer.echo(f"report: {report}", err=True)


def _chosen(detectors: str) -> list[str]:
    """Return the detectors asked for, all of them for an empty text; ours comes first."""
    from infra.bench.nab.contestants import CONTESTANTS

    asked = [name.strip() for name in detectors.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in CONTESTANTS]:
        raise typer.BadParameter(f"unknown: {unknown[0]}; there are {', '.join(CONTESTANTS)}")
    return [name for name in CONTESTANTS if name in asked or not asked]
