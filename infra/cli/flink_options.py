"""What the commands of `headrace flink` share: options in, a job's arguments and lines of text out."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Address = Annotated[
    str,
    typer.Option(
        envvar="HEADRACE_FLINK",
        help="http://HOST:PORT of a cluster's REST interface.",
        show_default="the local cluster",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Within = Annotated[float, typer.Option(min=1, help="Seconds that a savepoint may take.")]
Parallelism = Annotated[int, typer.Option(min=1, max=128, help="Parallel tasks of each part of the job.")]


def topics_of(home: Path, group: str, transactional_prefix: str) -> list[str]:
    """Return the arguments that say which topics a job reads and writes, and as whom."""
    from infra.runtime.settings import config_path, load

    settings = load({**os.environ, "HEADRACE_HOME": str(home)})
    given = {
        "--bootstrap": settings.endpoints.kafka,
        "--config": str(config_path()) if config_path().is_file() else "",
        "--prefix": settings.config.topic_prefix,
        "--group": group,
        "--transactional-prefix": transactional_prefix,
    }
    return [word for name, value in given.items() if value for word in (name, value)]


def teller(as_json: bool) -> Callable[[str], None]:
    """Progress goes to stderr, so that standard output holds the result alone."""
    return lambda line: None if as_json else typer.echo(line, err=True)


def tell(as_json: bool, value: dict[str, Any], text: str) -> None:
    """Print a result, as one JSON object or as a line."""
    typer.echo(json.dumps(value) if as_json else text)
