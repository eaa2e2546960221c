"""`headrace drift alerts` and `headrace drift show`: which drifts were found, and what one of them was.

Consumes ClickHouse's table `alerts`, or the topic `alerts.drift` where that does not answer; produces a list,
an explanation in the terminal, or the alert's page.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from schemas.errors import Fatal, Retryable

if TYPE_CHECKING:
    from infra.runtime.settings import Settings
    from schemas.drift import DriftAlert
    from streams.alerts.explanation import Over

_QUERY: Final = """
SELECT id, stream, model, version, signal, detector, statistic, threshold, since, window_from, window_to,
    observations, severity, response, summary, evidence, runbook, raised_at, recovered
FROM alerts
WHERE ({stream:String} = '' OR stream = {stream:String}) AND raised_at >= {since:DateTime64(6, 'UTC')}
    AND startsWith(id, {prefix:String})
ORDER BY raised_at, _offset
LIMIT 1 BY id
"""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED: Final = 5

JsonOption = Annotated[bool, typer.Option("--json", help="as JSON")]


@dataclass
class Known:
    """Alerts, oldest first, and by an alert's id the notice that it is over. `away`: why not ClickHouse."""

    alerts: "list[DriftAlert]" = field(default_factory=list)
    notices: "dict[str, DriftAlert]" = field(default_factory=dict)
    away: str = ""

    def over(self, alert: "DriftAlert") -> "Over | None":
        """Return how an alert ended, if it did."""
        from streams.alerts.explanation import over

        return over(alert, self.notices)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("alerts")(alerts)
    app.command("show")(show)


def alerts(
    stream: Annotated[str, typer.Option(help="only those of this stream")] = "",
    since: Annotated[str, typer.Option(help="only those raised since: 30m, 2h, 1d, or a time")] = "",
    limit: Annotated[int, typer.Option(min=1, help="show the newest so many")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object an alert and line")] = False,
) -> None:
    """List the alerts that were raised, newest last, and whether they are over."""
    import asyncio

    from infra.cli.moments import moment
    from infra.runtime.settings import load

    settings = load()
    begin = moment(since, datetime.now(UTC), "--since") if since else _BEGINNING
    known = asyncio.run(read(settings, stream=stream, since=begin))
    _say_where(known)
    if not known.alerts:
        if stream:
            settings.stream(stream)  # says which there are
        if not as_json:
            typer.echo("no alert was raised" + (" since then" if since else " yet"))
        return
    for alert in known.alerts[-limit:]:
        typer.echo(_json(alert, known.over(alert)) if as_json else _line(alert, known.over(alert)))
    if not as_json:
        typer.echo(f"{len(known.alerts)} alerts; next: headrace drift show {known.alerts[-1].id[:8]}")


def show(
    id: Annotated[str, typer.Argument(metavar="ALERT_ID|latest", help="an id, or how it begins")],
    html: Annotated[Path | None, typer.Option(help="write the alert's page there")] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain one alert: what moved, ranked, and how it was distributed before and after."""
    import asyncio

    from rich.console import Console

    from infra.cli.explain import explained
    from infra.runtime.settings import load
    from streams.alerts.delivery import pages_of

    settings = load()
    known, alert = asyncio.run(_found(settings, id))
    over = known.over(alert)
    _say_where(known)
    if html is not None:
        _write(alert, over, html)
    if as_json:
        typer.echo(_json(alert, over, explanation=True))
        return
    Console().print(explained(alert, over))
    place = str(html) if html is not None else pages_of(settings).place(alert)
    typer.echo(f"page: {place}" if place else f"its page: headrace drift show {alert.id[:8]} --html FILE")


async def read(
    settings: "Settings", *, stream: str = "", since: datetime = _BEGINNING, prefix: str = ""
) -> Known:
    """Return the alerts of a stream that were raised since, whose ids begin with `prefix`.

    Raises:
        Retryable: neither ClickHouse nor Kafka answers.
    """
    from infra.runtime.warehouse import WarehouseRefused

    try:
        return _known(await _from_warehouse(settings, stream, since, prefix))
    except (Retryable, WarehouseRefused) as away:
        why = str(away).splitlines()[0]
        return await _from_topic(settings, stream, since, prefix, why)


async def _from_warehouse(
    settings: "Settings", stream: str, since: datetime, prefix: str
) -> "list[DriftAlert]":
    from infra.runtime.warehouse import Warehouse

    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    try:
        rows = await warehouse.query(_QUERY, {"stream": stream, "since": since, "prefix": prefix})
    finally:
        await warehouse.close()
    return [_alert(row) for row in rows]


def _alert(row: dict[str, Any]) -> "DriftAlert":
    """Read a row of the table as the contract that it was made from."""
    import msgspec

    from schemas.drift import DriftAlert

    times = {
        name: value.replace(tzinfo=UTC) if value.tzinfo is None else value
        for name, value in row.items()
        if isinstance(value, datetime)
    }
    return msgspec.convert(
        {**row, **times, "evidence": msgspec.json.decode(row["evidence"] or "{}")}, DriftAlert
    )


async def _from_topic(settings: "Settings", stream: str, since: datetime, prefix: str, why: str) -> Known:
    from aiokafka.errors import KafkaError

    from streams.drift.log import written_alerts

    try:
        written = await written_alerts(settings)
    except KafkaError as error:
        raise Retryable(
            f"neither ClickHouse ({why}) nor Kafka ({type(error).__name__}) answers; see `headrace status`"
        ) from error
    found = {
        alert.id: alert
        for alert in written
        if stream in ("", alert.stream) and alert.raised_at >= since and alert.id.startswith(prefix)
    }
    return _known(sorted(found.values(), key=lambda alert: alert.raised_at), why)


def _known(found: "list[DriftAlert]", away: str = "") -> Known:
    from streams.alerts.explanation import ended

    return Known(
        [alert for alert in found if not alert.recovered],
        {ended(alert): alert for alert in found if alert.recovered},
        away,
    )


async def _found(settings: "Settings", id: str) -> "tuple[Known, DriftAlert]":
    """Return the alert that is meant; the topic is asked too, in case the sink is behind.

    Raises:
        Fatal: there is none, or there are several.
    """
    prefix = "" if id == "latest" else id.removesuffix("-recovered")
    if not id.strip():
        raise typer.BadParameter("give an alert's id, how it begins, or latest")
    known = await read(settings, prefix=prefix)
    if not known.alerts and not known.away:
        known = await _from_topic(settings, "", _BEGINNING, prefix, "")
    exact = [alert for alert in known.alerts if alert.id == prefix]
    if id == "latest" and not known.alerts:
        raise Fatal("no alert was raised yet; `headrace drift` shows how near each signal is")
    if not known.alerts:
        raise Fatal(f"no alert's id begins with {id!r}; `headrace drift alerts` lists them")
    if prefix and not exact and len(known.alerts) > 1:
        some = ", ".join(alert.id for alert in known.alerts[-_NAMED:])
        raise Fatal(f"{len(known.alerts)} alerts' ids begin with {id!r}: {some}; give more of it")
    return known, (exact or known.alerts)[-1]


def _say_where(known: Known) -> None:
    if known.away:
        typer.echo(f"read from the topic alerts.drift, since {known.away}", err=True)


def _write(alert: "DriftAlert", over: "Over | None", path: Path) -> None:
    from streams.alerts.page.document import page
    from streams.alerts.page.folder import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(page(alert, over), path)
    except OSError as error:
        raise Fatal(f"{path} cannot be written: {error.strerror or error}") from error


def _json(alert: "DriftAlert", over: "Over | None", *, explanation: bool = False) -> str:
    import msgspec

    from streams.alerts.explanation import explain

    told: dict[str, Any] = {"alert": alert, "over": over}
    if explanation:
        told["explanation"] = explain(alert.evidence)
    return msgspec.json.encode(told).decode()


def _line(alert: "DriftAlert", over: "Over | None") -> str:
    from streams.alerts.page.document import state
    from streams.alerts.page.text import shown

    word = state(alert, over)
    since = f" since {over.at:%m-%d %H:%M:%S}" if over else ""
    return f"{alert.id[:8]}  {alert.raised_at:%m-%d %H:%M:%S}  {word}{since}  {shown(alert.summary, 200)}"
