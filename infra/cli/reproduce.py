"""`headrace models reproduce`: consumes a release's own record, shows what training it again gives."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.promote import AsJson, Words
from schemas.errors import Fatal

if TYPE_CHECKING:
    from trainers.reproduce import Reproduction


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reproduce")(reproduce)


def reproduce(
    words: Words,
    scratch: Annotated[Path | None, typer.Option(help="train in this folder and leave it there")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a release again from its own record and compare the metrics: same within 0.1 point, or exit 1.

    Rows, settings, seed and parent are those that the release folder keeps. Nothing is released, and nothing
    outside a scratch folder is changed. It takes as long as the first training did; the base model's graphs
    are made anew.

        headrace models reproduce requests 2
    """
    from infra.cli.announced import read_announced, resolve
    from infra.runtime import log, settings
    from schemas.codec import encode
    from trainers.reproduce import reproduce as again

    log.configure("reproduce", level="error")  # to stderr: standard output is the answer's
    releases = settings.home() / "releases"
    model, versions = resolve(words, releases, lambda: read_announced(settings.load()))
    if scratch is not None:
        if scratch.exists():
            raise Fatal(f"{scratch} exists already; name a folder that does not")
        found = asyncio.run(again(releases, model, versions[0], scratch.absolute()))
    else:
        with tempfile.TemporaryDirectory(prefix="headrace-again-") as folder:
            found = asyncio.run(again(releases, model, versions[0], Path(folder)))
    if as_json:
        typer.echo(encode(found).decode())
    else:
        _show(found)
    if not found.same:
        raise Fatal(
            f"{model} {versions[0]} is not reproduced: the figures marked `no` differ, or its rows do"
        )


def _show(found: "Reproduction") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "released", "trained again", "same", box=None)
    for figure in found.figures:
        same = "not compared" if figure.same is None else "yes" if figure.same else "no"
        table.add_row(figure.name, _shown(figure.released), _shown(figure.reproduced), same)
    Console(highlight=False).print(table)
    for name, (then, now) in found.differs.items():
        typer.echo(f"{name} was {then}, is {now or 'not there'}")
    if found.note:
        typer.echo(found.note)
    typer.echo(f"sha256 of the rows: {found.rows_sha256}; seconds: {sum(found.seconds.values()):.1f}")


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
