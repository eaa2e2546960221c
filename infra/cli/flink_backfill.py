"""`headrace flink run backfill`: which part of the past is cleaned; options in, the job's arguments out."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Final

import typer

JOB: Final = "backfill"
"""The job that ends."""

Files = Annotated[
    list[str] | None,
    typer.Option(
        "--files",
        metavar="PATH",
        help="Of backfill, instead of a range: a file, folder, glob or URI that the workers can read, one"
        " CloudEvent as JSON a line, also .gz; may be given several times.",
    ),
]


def arguments(job: str, files: Sequence[str], rest: Sequence[str]) -> list[str]:
    """Return a job's own arguments; `rest` begins with more files where the shell has spread out a glob.

    Raises:
        FlinkError: the job takes no files, or one is not there or cannot be read.
    """
    from infra.flink.errors import FlinkError
    from infra.flink.files import found

    if not files:
        return list(rest)
    if job != JOB:
        raise FlinkError(f"{job} reads topics; files are read by `headrace flink run {JOB} --files …`")
    more = list(takewhile(lambda word: not word.startswith("-"), rest))
    return ["--files", *found([*files, *more]), *rest[len(more) :]]
