"""`headrace predict`: a trained folder and a file in, an answer for each row out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from infra.training import options as o
from schemas.errors import Fatal


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    folder: Annotated[Path, typer.Argument(help="What `headrace train … --out` wrote.", metavar="FOLDER")],
    data: o.Data,
    out: Annotated[str, typer.Option(help="Write the answers here; - for standard output.")] = "-",
    column: o.Column = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be read.")] = False,
    tokens: Annotated[int, typer.Option(min=1, max=4096, help="clm: pieces to write at most.")] = 32,
    threads: o.Threads = 0,
) -> None:
    r"""Answer a file's rows with a model that `headrace train` made, as JSON lines.

    \b
    A class and how sure it is; tags of words; an answer and where it begins:
      headrace predict intents new.csv
      headrace predict ner sentences.jsonl --column words=text
      headrace predict qa questions.jsonl --out answers.jsonl
    A text's masked pieces, what follows it, its group:
      headrace predict logs-lm masked.csv
      headrace predict notes-lm beginnings.csv --tokens 64
      headrace predict groups tickets.csv
    A state, a number, the next value, an anomaly's score:
      headrace predict load newest.csv

    The graph runs on ONNX Runtime, row by row: no answer depends on another row.
    The truth's column may be missing. A row that cannot be answered gets an error
    in its place, and the exit status is 1. Models of streams are served by
    `headrace up`, not by this.
    """
    import os

    import msgspec

    from infra.runtime import log
    from infra.training.command import roles
    from infra.training.reading import read
    from trainers.tasks.applied import Applied

    log.configure("predict", level="error")
    model = Applied(folder, threads or os.cpu_count() or 1)
    rows = read(
        data, model.report.task, roles(column or []),
        skip_bad=skip_bad, features=model.features, answered=False,
    )  # fmt: skip
    for problem in rows.problems[:5]:
        typer.echo(f"left out: {problem}", err=True)
    failed = 0
    with _written(out) as file:
        for answer in model.answers(rows.examples, tokens):
            failed += "error" in answer
            file.write(msgspec.json.encode(answer) + b"\n")
    if failed:
        raise Fatal(f"{failed} of {len(rows.examples)} rows could not be answered; their `error` says why")


@contextmanager
def _written(out: str) -> Iterator[BinaryIO]:
    """Give what answers are written to: a file has its name once it is whole."""
    if out == "-":
        yield sys.stdout.buffer
        return
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
