"""`headrace drift silence`, `unsilence`, `ack` and `silences`: who is told of alerts, and until when.

Consumes what is typed, produces orders on `streams.control`, which the delivery follows.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.control import Action, Control, Scope
from schemas.drift import Signal
from schemas.errors import Fatal
from schemas.section import duration_s

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

_LONGEST: Final = timedelta(days=30)

StreamArgument = Annotated[str, typer.Argument(help="a stream of headrace.toml")]
SignalOption = Annotated[Signal | None, typer.Option(help="only this signal; else all of the stream's")]
ReasonOption = Annotated[str, typer.Option(help="why, for those who find it silent")]
ByOption = Annotated[str, typer.Option(help="who says so", show_default="USER@HOST")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("silence")(silence)
    app.command("unsilence")(unsilence)
    app.command("ack")(acknowledge)
    app.command("silences")(silences)


def silence(
    stream: StreamArgument,
    for_: Annotated[str, typer.Option("--for", help="how long, such as 30m, 2h or 1d; at most 30d")] = "1h",
    signal: SignalOption = None,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tell nobody of a stream's alerts for a while; what still stands then is told.

    Alerts are written and the loop goes on as ever: only people are left alone.
    """
    now = datetime.now(UTC)
    until = now + _length(for_)
    order = _order(_name(stream, signal), Action.SILENCED, reason, by, now, until)
    _say(order, as_json, f"silent until {until:%Y-%m-%d %H:%M:%S} UTC; next: headrace drift silences")


def unsilence(
    stream: StreamArgument, signal: SignalOption = None, by: ByOption = "", as_json: JsonOption = False
) -> None:
    """End a silence now: what waits is told."""
    order = _order(_name(stream, signal), Action.UNSILENCED, "", by, datetime.now(UTC))
    _say(order, as_json, f"{order.name} is told again")


def acknowledge(
    alert: Annotated[str, typer.Argument(help="the alert's id, as every channel shows it")],
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say that you know: it is told nowhere further, nor is what the same cause adds to it."""
    order = _order(alert, Action.ACKNOWLEDGED, reason, by, datetime.now(UTC))
    _say(order, as_json, f"{alert} is acknowledged by {order.by}; that it is over will still be told")


def silences(as_json: JsonOption = False) -> None:
    """Show what is silent now, until when, by whom and why."""
    import asyncio

    from infra.runtime.settings import load

    now = datetime.now(UTC)
    found = [
        order
        for order in asyncio.run(_orders(load()))
        if order.action is Action.SILENCED and order.until is not None and now < order.until
    ]
    if as_json:
        for order in found:
            _say(order, True, "")
    elif not found:
        typer.echo("nothing is silent")
    for order in () if as_json else found:
        why = f": {order.reason}" if order.reason else ""
        typer.echo(f"{order.name} until {order.until:%Y-%m-%d %H:%M:%S} UTC, by {order.by}{why}")


def _say(order: Control, as_json: bool, text: str) -> None:
    from schemas.codec import encode

    typer.echo(encode(order).decode() if as_json else text)


def _name(stream: str, signal: Signal | None) -> str:
    from infra.runtime.settings import load

    load().stream(stream)  # says which there are
    return stream if signal is None else f"{stream}/{signal.value}"


def _length(text: str) -> timedelta:
    try:
        length = timedelta(seconds=duration_s(text))
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    if not timedelta() < length <= _LONGEST:
        raise typer.BadParameter("a silence lasts up to 30d", param_hint="--for")
    return length


def _order(
    name: str, action: Action, reason: str, by: str, now: datetime, until: datetime | None = None
) -> Control:
    import asyncio

    from infra.runtime.control import operator
    from infra.runtime.settings import load

    order = Control(
        scope=Scope.ALERT, name=name, action=action, by=by or operator(), reason=reason, at=now, until=until
    )
    asyncio.run(_give(load(), order))
    return order


async def _give(settings: "Settings", order: Control) -> None:
    from infra.runtime.control import give
    from infra.runtime.kafka.follow import follow
    from infra.runtime.kafka.produce import Publisher
    from schemas.codec import decode
    from schemas.drift import DriftAlert
    from schemas.topics import ALERTS

    if order.action is Action.ACKNOWLEDGED:
        known = [
            decode(record.value or b"", DriftAlert).id
            async for record in follow(settings, [ALERTS], stop_at_end=True)
        ]
        if order.name not in known:
            raise Fatal(f"no alert is called {order.name!r}; `headrace tail alerts.drift` shows them")
    async with Publisher(settings, "headrace-silence") as publisher:
        await give(publisher, order)


async def _orders(settings: "Settings") -> list[Control]:
    from infra.runtime.control import Controls

    controls = Controls(settings)
    await controls.load()
    return [order for order in controls.orders() if order.scope is Scope.ALERT]
