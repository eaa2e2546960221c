"""`headrace tail` and `headrace query`: topics and ClickHouse in, the terminal out."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from schemas.record import Incoming
    from schemas.topics import Topic

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("tail")(tail)
    app.command("query")(query)


def tail(
    topic: Annotated[str, typer.Argument(help="such as events.clean, predictions, alerts.drift")],
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="go on, or stop at the end")] = True,
    start: Annotated[str, typer.Option("--from", help="beginning, end, or how long ago: 30s, 5m, 2h")] = "",
    limit: Annotated[int, typer.Option(help="stop after so many records; 0: never")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Follow a topic; only committed records are shown. Ctrl-C ends it."""
    import asyncio
    from contextlib import suppress

    found = _topic(topic)
    begin = _start(start or ("end" if follow else "beginning"))
    with suppress(KeyboardInterrupt):  # how one ends it
        asyncio.run(_tail(found, begin, follow, limit, as_json))


def query(
    sql: Annotated[str, typer.Argument(help="SQL, or - to read it from standard input")],
    form: Annotated[str, typer.Option("--format", help="any of ClickHouse's")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="the same as --format JSON")] = False,
) -> None:
    """Ask ClickHouse: events, predictions, labels, alerts, releases, swaps, loop, dead, control, audit."""
    import httpx

    from infra.runtime.settings import load
    from schemas.errors import Retryable

    settings = load()
    statement = sys.stdin.read() if sql == "-" else sql
    pretty = "PrettyCompact" if sys.stdout.isatty() else "PrettyCompactMonoBlock"
    parameters = {
        "database": settings.config.database,
        "default_format": form or ("JSON" if as_json else pretty),
        "output_format_pretty_color": "1" if sys.stdout.isatty() else "0",
    }
    endpoint = httpx.URL(settings.endpoints.clickhouse)
    try:
        with (
            httpx.Client(timeout=httpx.Timeout(10.0, read=None)) as client,
            client.stream("POST", endpoint, params=parameters, content=statement.encode()) as answer,
        ):
            if answer.is_success:
                for chunk in answer.iter_bytes():
                    sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
                return
            answer.read()
            code = answer.headers.get("x-clickhouse-exception-code", "")
            message = answer.text.strip()
    except httpx.HTTPError as error:
        raise Retryable(
            f"ClickHouse does not answer ({type(error).__name__}); see `headrace status`"
        ) from error
    typer.secho(message or f"ClickHouse answered {answer.status_code}", fg=typer.colors.RED, err=True)
    if code and f"Code: {code}" not in message:
        typer.echo(f"ClickHouse's code: {code}", err=True)
    typer.echo("see the tables with: headrace query 'SHOW TABLES'", err=True)
    raise typer.Exit(1)


def _topic(name: str) -> "Topic":
    import difflib

    from schemas.errors import Fatal
    from schemas.topics import TOPICS

    known = {topic.name: topic for topic in TOPICS}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else ""
    raise Fatal(f"no topic is called {name!r}; {hint} There are: {', '.join(known)}")


def _start(text: str) -> Literal["beginning", "end"] | datetime:
    if text == "beginning":
        return "beginning"
    if text == "end":
        return "end"
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise typer.BadParameter("give beginning, end, or how long ago such as 5m", param_hint="--from")
    return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})


async def _tail(
    topic: "Topic", start: Literal["beginning", "end"] | datetime, go_on: bool, limit: int, as_json: bool
) -> None:
    from contextlib import aclosing

    from infra.runtime.kafka.follow import follow
    from infra.runtime.settings import load

    records: Any = follow(load(), [topic], start=start, stop_at_end=not go_on)
    shown = 0
    async with aclosing(records):
        async for record in records:
            typer.echo(_json_line(record) if as_json else _pretty(record))
            shown += 1
            if limit and shown >= limit:
                return


def _json_line(record: "Incoming") -> str:
    """One record with its coordinates; a value that is no JSON is shown as text."""
    import msgspec

    line = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": datetime.fromtimestamp(record.timestamp / 1000, UTC),
        "key": _text(record.key),
        "headers": {name: _text(value) for name, value in record.headers},
        "value": _value(record.value),
    }
    return msgspec.json.encode(line).decode()


def _pretty(record: "Incoming") -> str:
    import msgspec

    at = datetime.fromtimestamp(record.timestamp / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    place = typer.style(f"{at} {record.partition}:{record.offset}", fg=typer.colors.BRIGHT_BLACK)
    key = typer.style(_text(record.key) or "-", fg=typer.colors.CYAN)
    value = _value(record.value)
    if not isinstance(value, dict):
        return f"{place} {key} {value}"
    parts = []
    for name, field in value.items():
        if field in ("", None, {}, [], False):
            continue
        shown = field if isinstance(field, str) else msgspec.json.encode(field).decode()
        shown = shown if len(shown) <= 160 else f"{shown[:159]}…"
        parts.append(f"{typer.style(name, fg=typer.colors.GREEN)}={shown}")
    return f"{place} {key} {' '.join(parts)}"


def _value(value: bytes | None) -> Any:
    import msgspec

    if value is None:
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _text(value)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="backslashreplace")
