"""`headrace bench`: speed and endurance, measured beside the peers; every part prints one JSON object."""

import typer

from infra.cli.bench import (
    chaos,
    dedupe,
    devices,
    drift,
    flink,
    gateway,
    growth,
    ingest,
    nab,
    predict,
    serve,
    streams,
    swap,
    train,
)


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    group = typer.Typer(
        name="bench",
        help="Measure Headrace on this machine, beside its peers where there are any.\n\n"
        "Nothing else heavy should run meanwhile. Every command has --json FILE (- for standard output).",
        no_args_is_help=True,
    )
    for part in (
        streams,
        ingest,
        chaos,
        dedupe,
        drift,
        nab,
        train,
        swap,
        serve,
        predict,
        devices,
        gateway,
        flink,
        growth,
    ):
        part.register(group)
    app.add_typer(group)
