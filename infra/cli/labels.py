"""`headrace labels`: files of ground truth in, the topic `labels` out, and back from ClickHouse to a file."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from schemas.errors import Fatal, Reason, Rejected

if TYPE_CHECKING:
    from infra.runtime.settings import Settings
    from schemas.label import Label

_CHUNK: Final = 1000
_KEPT_REFUSALS: Final = 1000
_NEWEST: Final = (
    "SELECT stream, source, id, label, labelled_at, by FROM labels "
    "ORDER BY labelled_at DESC, _offset DESC LIMIT 1 BY stream, source, id FORMAT {form}"
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Ground truth: import and export.", no_args_is_help=True)
    group.command("import")(import_labels)
    group.command("export")(export_labels)
    app.add_typer(group, name="labels")


def import_labels(
    file: Annotated[Path, typer.Argument(help="JSON lines or CSV with source, id, label")],
    stream: Annotated[str, typer.Option(help="the stream of rows that name none")] = "",
    by: Annotated[str, typer.Option(help="who says so, in rows that name none")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Publish labels from a file; `labelled_at` defaults to now. The newest label of an event wins."""
    import asyncio

    import msgspec

    from infra.runtime.settings import load

    if not file.is_file():
        raise Fatal(f"{file} is no file")
    settings = load()
    with file.open("rb") as opened:
        sent, refused, refusals = asyncio.run(_import(settings, opened, file, stream, by))
    if as_json:
        figures = {"sent": sent, "refused": refused, "refusals": refusals}
        typer.echo(msgspec.json.encode(figures).decode())
    else:
        for refusal in refusals:
            typer.echo(f"line {refusal['line']}: {refusal['reason']}: {refusal['message']}", err=True)
        typer.echo(f"sent {sent} labels, refused {refused}")
    if refused or not sent:
        raise typer.Exit(1)


def export_labels(
    file: Annotated[Path | None, typer.Argument(help="where to; default: standard output")] = None,
    form: Annotated[str, typer.Option("--format", help="CSVWithNames, Parquet…")] = "JSONEachRow",
) -> None:
    """Write the newest label of every event, as ClickHouse has them."""
    import sys

    import httpx

    from infra.runtime.settings import load
    from schemas.errors import Retryable

    settings = load()
    if not form.isalnum():
        raise typer.BadParameter(
            "give one of ClickHouse's formats, such as CSVWithNames", param_hint="--format"
        )
    target: IO[bytes] = file.open("wb") if file is not None else sys.stdout.buffer
    parameters = {"database": settings.config.database, "date_time_output_format": "iso"}
    try:
        with (
            httpx.Client(timeout=httpx.Timeout(10.0, read=None)) as client,
            client.stream(
                "POST",
                settings.endpoints.clickhouse,
                params=parameters,
                content=_NEWEST.format(form=form).encode(),
            ) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise Fatal(answer.text.strip())
            for chunk in answer.iter_bytes():
                target.write(chunk)
    except httpx.HTTPError as error:
        raise Retryable(
            f"ClickHouse does not answer ({type(error).__name__}); see `headrace status`"
        ) from error
    finally:
        target.flush()
        if file is not None:
            target.close()


async def _import(
    settings: "Settings", opened: IO[bytes], file: Path, stream: str, by: str
) -> tuple[int, int, list[dict[str, Any]]]:
    from infra.runtime.kafka.admin import create_topics
    from infra.runtime.kafka.produce import Publisher
    from schemas import codec, topics
    from schemas.record import Outgoing

    sent = refused = 0
    refusals: list[dict[str, Any]] = []
    await create_topics(settings)
    async with Publisher(settings, "headrace-labels") as publisher:
        rows = _rows(opened, file)
        while chunk := list(islice(rows, _CHUNK)):
            records = []
            for line, row in chunk:
                try:
                    label = _label(settings, row, stream, by)
                except Rejected as error:
                    refused += 1
                    if len(refusals) < _KEPT_REFUSALS:
                        refusals.append({"line": line, "reason": error.reason, "message": error.message})
                else:
                    records.append(Outgoing(topics.LABELS.name, label.source.encode(), codec.encode(label)))
            sent += len(await publisher.send_all(records))
    return sent, refused, refusals


def _rows(opened: IO[bytes], file: Path) -> Iterator[tuple[int, Any]]:
    """Yield line numbers with what stands there: an object, or the error of reading it."""
    import msgspec

    if file.suffix.lower() == ".csv":
        text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
        try:
            reader = csv.DictReader(text)
            for row in reader:
                yield reader.line_num, {name: cell for name, cell in row.items() if cell}
        finally:
            text.detach()  # the file is its opener's to close
        return
    for number, line in enumerate(opened, start=1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                yield number, Rejected(Reason.MALFORMED_JSON, str(error))


def _label(settings: "Settings", row: Any, stream: str, by: str) -> "Label":
    from datetime import UTC, datetime

    from schemas import codec
    from schemas.label import Label

    if isinstance(row, Rejected):
        raise row
    if not isinstance(row, dict):
        raise Rejected(Reason.WRONG_TYPE, "a label is a JSON object with source, id and label")
    defaults = {"labelled_at": datetime.now(UTC), "stream": stream, "by": by}
    label = codec.decode(codec.encode({**defaults, **row}), Label)
    if label.stream not in settings.config.streams:
        known = ", ".join(settings.config.streams)
        raise Rejected(Reason.UNKNOWN_STREAM, f"no stream is called {label.stream!r}; there are: {known}")
    return label
