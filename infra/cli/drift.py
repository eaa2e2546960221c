"""`headrace drift`: what is watched and how near to its threshold; a test alert through the real path."""

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli import alerts, silence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from infra.runtime.settings import Settings
    from schemas.drift import DriftAlert
    from streams.drift.levels import DriftLevel, StreamLevels

_BAR = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    drift = typer.Typer(help="What is watched for drift, and how near each signal is to its threshold.")
    drift.callback(invoke_without_command=True)(show)
    drift.command("test-alert")(send_test_alert)
    alerts.register(drift)
    silence.register(drift)
    app.add_typer(drift, name="drift")


def show(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="show again every second")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per stream and line")] = False,
) -> None:
    """Show what is watched, stream by stream and signal by signal."""
    if context.invoked_subcommand is not None:
        return
    import asyncio
    import contextlib

    from infra.runtime import settings

    loaded = settings.load()
    if not follow:
        _print(loaded, asyncio.run(_levels(loaded)), as_json)
        return
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how following ends
        asyncio.run(_follow(loaded, as_json))


async def _levels(settings: "Settings") -> "list[StreamLevels]":
    from redis.exceptions import RedisError

    from schemas.errors import Retryable
    from streams.drift.board import read_levels

    try:
        return await read_levels(settings)
    except (RedisError, OSError) as error:
        raise Retryable(f"Redis does not answer ({type(error).__name__}); try `headrace status`") from error


async def _follow(settings: "Settings", as_json: bool) -> None:
    import asyncio
    import sys

    from rich.live import Live

    if as_json or not sys.stdout.isatty():
        while True:
            _print(settings, await _levels(settings), as_json)
            await asyncio.sleep(1.0)
    with Live(refresh_per_second=2) as live:
        while True:
            live.update(table(await _levels(settings)))
            await asyncio.sleep(1.0)


def _print(settings: "Settings", found: "Sequence[StreamLevels]", as_json: bool) -> None:
    from rich.console import Console

    from schemas.codec import encode
    from schemas.errors import Retryable

    if as_json:
        for levels in found:
            typer.echo(encode(levels).decode())
    elif found:
        Console().print(table(found))
    if not found:
        raise Retryable("nothing is watched: the drift worker does not run; start it with `headrace up`")


def table(found: "Sequence[StreamLevels]") -> "Table":
    """Return the levels as a table with bars."""
    from rich.table import Table

    made = Table(title="Drift")
    for heading in ("stream", "model", "signal", "furthest", "statistic / threshold", "", "accuracy"):
        made.add_column(heading)
    for levels in found:
        model = f"{levels.model} v{levels.version}" if levels.version else (levels.model or "–")
        accuracy = "–" if levels.accuracy is None else f"{levels.accuracy:.1%}"
        if levels.accuracy is not None and levels.baseline_accuracy is not None:
            accuracy += f" (was {levels.baseline_accuracy:.1%})"
        for number, level in enumerate(levels.levels):
            first = number == 0
            made.add_row(
                levels.stream if first else "",
                model if first else "",
                level.signal.value,
                level.name,
                _measured(level),
                _bar(level),
                accuracy if first else "",
            )
    return made


def _measured(level: "DriftLevel") -> str:
    if level.readiness < 1.0:
        return f"learning what is normal: {level.readiness:.0%}"
    return f"{level.statistic:.3f} / {level.threshold:.3f}"


def _bar(level: "DriftLevel") -> str:
    """Return a bar that is full at the threshold, red while an alert stands."""
    near = min(1.0, level.nearness) if level.readiness >= 1.0 else level.readiness
    full = round(near * _BAR)
    if level.active:
        colour = "red"
    elif level.readiness < 1.0:
        colour = "dim"
    else:
        colour = "yellow" if near > 0.7 else "green"
    return f"[{colour}]{'█' * full}{'░' * (_BAR - full)}[/{colour}]"


def send_test_alert(
    stream: Annotated[str, typer.Option(help="the stream to name in it")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the alert as JSON")] = False,
) -> None:
    """Send an alert that is marked as a test the way a real one goes: topic, channels, ClickHouse."""
    import asyncio

    from infra.runtime import settings
    from schemas.codec import encode

    loaded = settings.load()
    name = stream or next(iter(loaded.config.streams))
    loaded.stream(name)
    alert = asyncio.run(_send_test(loaded, name))
    if as_json:
        typer.echo(encode(alert).decode())
    else:
        told = ", ".join(_channels(loaded)) or "nobody: no channel is set up under [alerts] in headrace.toml"
        typer.echo(f"sent test alert {alert.id}; `headrace tail alerts.drift` shows it; told is {told}")


def _channels(settings: "Settings") -> "list[str]":
    from infra.runtime.clock import SystemClock
    from streams.alerts.delivery import channels_of

    return [channel.name for channel in channels_of(settings, SystemClock())]


async def _send_test(settings: "Settings", stream: str) -> "DriftAlert":
    import uuid
    from datetime import UTC, datetime

    from infra.runtime.kafka.produce import Publisher
    from schemas.codec import encode
    from schemas.drift import DriftAlert, Response, Severity, Signal
    from schemas.record import Outgoing
    from schemas.topics import ALERTS

    now = datetime.now(UTC)
    alert = DriftAlert(
        id=f"test-{uuid.uuid4().hex[:12]}",
        stream=stream,
        model="",
        version=0,
        signal=Signal.QUALITY,
        detector="test",
        statistic=0.0,
        threshold=0.0,
        since=now,
        window_from=now,
        window_to=now,
        observations=0,
        severity=Severity.WARNING,
        response=Response.ALERT,
        summary=f"Test alert for stream {stream!r}: nothing is wrong, and nothing is to be done.",
        evidence={"test": True},
        raised_at=now,
    )
    async with Publisher(settings, "headrace-test-alert") as publisher:
        await publisher.send(Outgoing(ALERTS.name, stream.encode(), encode(alert)))
    return alert
