"""`headrace publish`: a file in, `events.raw` (and `labels`) out, by Kafka or by the gateway."""

import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from schemas.record import Kind

if TYPE_CHECKING:
    from infra.cli.rows import Format, Plan, Row
    from infra.cli.senders import Sender
    from infra.runtime.settings import Settings

_CHUNK: Final = 500
_KEPT_REFUSALS: Final = 1000


class Form(StrEnum):
    """What the file is."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    LOG = "log"


class Via(StrEnum):
    """Which way the events go."""

    KAFKA = "kafka"
    HTTP = "http"


@dataclass
class Outcome:
    """What became of a file. `refusals` holds the first thousand; `by_reason` counts all of them."""

    sent: int = 0
    labels: int = 0
    refused: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int, reason: str, name: str, message: str) -> None:
        """Count one line that was not sent."""
        self.refused += 1
        self.by_reason[reason] += 1
        if len(self.refusals) < _KEPT_REFUSALS:
            self.refusals.append({"line": line, "reason": reason, "field": name, "message": message})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("publish")(publish)


def publish(  # noqa: PLR0917  # typer calls it by name
    file: Annotated[str, typer.Argument(help="a file, or - for standard input")],
    stream: Annotated[str, typer.Option(help="the stream; default: the first one of the events' kind")] = "",
    kind: Annotated[Kind | None, typer.Option(help="what bare data are; default: by their fields")] = None,
    source: Annotated[str, typer.Option(help="the source of lines without one")] = "",
    form: Annotated[Form, typer.Option("--format", help="default: by the file's name")] = Form.AUTO,
    via: Annotated[Via, typer.Option(help="straight to Kafka, or to the gateway")] = Via.KAFKA,
    label_column: Annotated[str, typer.Option(help="the field that holds the truth; goes to `labels`")] = "",
    unchecked: Annotated[bool, typer.Option("--unchecked", help="send JSON lines as they are")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as one JSON object")] = False,
) -> None:
    """Publish a file: CloudEvents or bare data as JSON lines, CSV rows, or log lines.

    A line without an id gets one from its place and content, so publishing a file twice makes no duplicates;
    standard input is new each time.
    """
    import asyncio

    from infra.runtime.settings import load

    started = time.monotonic()
    settings = load()
    if stream:
        kind = kind or settings.stream(stream).kind
    with _opened(file) as opened:
        plan, rows = _rows(opened, file, form, stream, kind, source, label_column)
        outcome = asyncio.run(_publish(settings, plan, rows, via, unchecked=unchecked))
    _report(outcome, time.monotonic() - started, as_json)


def _opened(file: str) -> IO[bytes]:
    if file == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)  # the caller closes it
    path = Path(file)
    if not path.is_file():
        from schemas.errors import Fatal

        raise Fatal(f"{file} is no file; give a path, or - for standard input")
    return path.open("rb")


def _rows(
    opened: IO[bytes], file: str, form: Form, stream: str, kind: Kind | None, source: str, label_column: str
) -> "tuple[Plan, Iterator[Row]]":
    from infra.cli.rows import Plan, format_of, read_rows

    salt = secrets.token_hex(8) if file == "-" else ""
    name = "stdin" if file == "-" else Path(file).name
    plan = Plan(name, kind, stream, source, label_column, salt)
    head: bytes = opened.peek(4096) if form is Form.AUTO else b""  # type: ignore[attr-defined]  # buffered
    chosen = format_of(file, head) if form is Form.AUTO else cast("Format", form.value)
    return plan, read_rows(opened, chosen, plan)


async def _publish(
    settings: "Settings", plan: "Plan", rows: "Iterator[Row]", via: Via, *, unchecked: bool
) -> Outcome:
    outcome = Outcome()
    async with _sender(settings, via, unchecked=unchecked) as sender:
        with _progress() as advance:
            while chunk := list(islice(rows, _CHUNK)):
                await _send(sender, plan, chunk, outcome)
                advance(len(chunk))
    return outcome


async def _send(sender: "Sender", plan: "Plan", chunk: "Sequence[Row]", outcome: Outcome) -> None:
    """Send what can be sent, and the labels of what was accepted."""
    good = []
    for row in chunk:
        if row.error is not None and not (sender.unchecked and row.event):
            outcome.refuse(row.line, row.error.reason.value, row.error.field, row.error.message)
        else:
            good.append(row)
    sent = await sender.send(good, plan.event_source())
    for row, refusal in sent.refused:
        outcome.refuse(row.line, refusal.reason.value, refusal.field, refusal.message)
    outcome.sent += sent.accepted
    outcome.labels += await sender.send_labels(sent.labels, by=f"file:{plan.name}")


@asynccontextmanager
async def _sender(settings: "Settings", via: Via, *, unchecked: bool) -> "AsyncIterator[Sender]":
    from infra.cli.senders import GatewaySender, KafkaSender, gateway_url
    from infra.runtime.kafka.admin import create_topics
    from infra.runtime.kafka.produce import Publisher
    from serving.client import Client

    async with AsyncExitStack() as stack:
        if via is Via.HTTP:
            client = await stack.enter_async_context(
                Client(
                    gateway_url(settings),
                    key=os.environ.get("HEADRACE_API_KEY", ""),
                    ca=os.environ.get("HEADRACE_GATEWAY_CA", ""),
                )
            )
            yield GatewaySender(settings, client, unchecked=unchecked)
        else:
            await create_topics(settings)
            publisher = await stack.enter_async_context(Publisher(settings, "headrace-publish"))
            yield KafkaSender(settings, publisher, unchecked=unchecked)


def _progress() -> Any:
    """Show how many lines were read, on a terminal only."""
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Iterator[Any]:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("publishing"), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("lines", total=None)
            yield lambda lines: progress.advance(task, lines)

    return shown()


def _report(outcome: Outcome, seconds: float, as_json: bool) -> None:
    import msgspec

    if as_json:
        figures = {
            "sent": outcome.sent,
            "refused": outcome.refused,
            "labels": outcome.labels,
            "seconds": round(seconds, 3),
            "by_reason": dict(outcome.by_reason),
            "refusals": outcome.refusals,
        }
        typer.echo(msgspec.json.encode(figures).decode())
    else:
        for refusal in outcome.refusals:
            where = f" at {refusal['field']}" if refusal["field"] else ""
            typer.echo(f"line {refusal['line']}: {refusal['reason']}{where}: {refusal['message']}", err=True)
        if outcome.refused > len(outcome.refusals):
            typer.echo(f"… and {outcome.refused - len(outcome.refusals)} more", err=True)
        labels = f", {outcome.labels} labels" if outcome.labels else ""
        typer.echo(f"sent {outcome.sent}{labels}, refused {outcome.refused} in {seconds:.1f} s")
        if outcome.sent:
            typer.echo("next: headrace tail events.clean · headrace dead list")
    if outcome.refused or not outcome.sent:
        raise typer.Exit(1)
