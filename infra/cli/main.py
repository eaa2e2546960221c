"""The `headrace` command: every part registers its own commands here; heavy imports wait until one runs."""

import sys

import typer

from infra.cli import (
    backtest,
    bench,
    data,
    dead,
    demo,
    drift,
    flink,
    keys,
    labels,
    models,
    predict,
    publish,
    read,
    stack,
    streams,
    train,
    tune,
    worker,
)
from schemas.errors import HeadraceError

app = typer.Typer(
    name="headrace",
    help="Event streams that keep machine-learning models in step with what they judge.\n\n"
    "Start here: `headrace demo` shows the whole loop; `headrace up` starts the local stack.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for part in (
    stack,
    demo,
    publish,
    read,
    labels,
    drift,
    flink,
    models,
    data,
    streams,
    keys,
    dead,
    backtest,
    train,
    tune,
    predict,
    bench,
    worker,
):
    part.register(app)


def main() -> None:
    """Run the command line; an error of Headrace's own is one line that says what to do."""
    from infra.runtime import log

    log.configure("headrace", level="warning")  # to stderr: standard output is the answer's
    try:
        app()
    except HeadraceError as error:
        typer.secho(f"headrace: {error}", fg=typer.colors.RED, err=True)
        sys.exit(1)
