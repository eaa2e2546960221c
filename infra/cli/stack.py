"""``headrace up``, ``down``, ``status``, ``doctor``: read the data folder's record, change what runs."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="HEADRACE_HOME", help="Data folder of the local stack.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
T = TypeVar("T")
DEFAULT_HOME = Path(".headrace")
UP_TIMEOUT_S = 180.0
DOWN_TIMEOUT_S = 90.0


def up(
    home: HomeOption = DEFAULT_HOME,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops everything.")
    ] = False,
    workers: Annotated[bool, typer.Option("--workers/--no-workers", help="Start the workers too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Start Kafka, Redis, ClickHouse and the workers, and wait until all of them answer."""
    from infra.local import detached
    from infra.local.errors import AlreadyRunningError, NotRunningError
    from infra.local.home import Home, running_record
    from infra.local.supervise import hold
    from infra.local.workers import gateway_grpc, gateway_url

    place = Home(home.absolute())
    try:
        running_record(place)
    except NotRunningError:
        say = _teller(as_json)
    else:
        _fail(AlreadyRunningError(f"a stack runs in {place.root} already: see `headrace status`"), as_json)
    if foreground:
        _guarded(lambda: hold(place.root, workers=workers, progress=say), as_json)
        return
    arguments = [str(place.root)] + ([] if workers else ["--no-workers"])
    record = _guarded(
        lambda: detached.start("infra.local.supervise", arguments, place, UP_TIMEOUT_S, say), as_json
    )
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    for name in ("kafka", "redis", "clickhouse"):
        typer.echo(f"{name:<11}{record[name]}")
    if workers:
        typer.echo(f"{'gateway':<11}{gateway_url(place.root)}")
        typer.echo(f"{'grpc':<11}{gateway_grpc(place.root)}")
    typer.echo(
        "next: headrace status · headrace tail events.clean · headrace query 'SELECT 1' · headrace down"
    )


def down(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Stop the workers and the services; data stay."""
    from infra.local import detached
    from infra.local.errors import NotRunningError
    from infra.local.home import Home, running_record

    place = Home(home.absolute())
    try:
        record = running_record(place)
    except NotRunningError:
        ended = detached.end_stale(place)
        told = f"nothing runs in {place.root}" + (f"; ended {ended}" if ended else "")
        _tell(as_json, {"stopped": ended}, told)
        return
    names = detached.end(record, DOWN_TIMEOUT_S)
    _tell(as_json, {"stopped": names}, "stopped " + ", ".join(names))


def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show what runs, where it answers, what it takes, what serves; exits with 1 when something is down."""
    from infra.local.cleaning import engine_of
    from infra.local.home import Home, running_record
    from infra.local.workers import gateway_grpc, gateway_url
    from infra.runtime.metrics.server import addresses

    place = Home(home.absolute())
    record = _guarded(lambda: running_record(place), as_json)
    engine = engine_of(place.root)
    processes = [_seen(one) for one in record["processes"] if not _given_over(one, engine.value)]
    healthy = record["state"] == "ready" and all(process["state"] == "running" for process in processes)
    shown = {name: record[name] for name in ("state", "kafka", "redis", "clickhouse", "supervisor_pid")}
    shown["gateway"] = gateway_url(place.root)
    shown["grpc"] = gateway_grpc(place.root)
    shown["metrics"] = addresses(place.root)
    shown["flink"] = _flink(place.root)
    shown["cleaning"] = engine.value
    models, unread = _models(place.root) if healthy else ([], "")
    if as_json:
        told = {**shown, "healthy": healthy, "processes": processes, "models": models}
        typer.echo(json.dumps(told, indent=2))
    else:
        _print_table(processes)
        for name in ("kafka", "redis", "clickhouse"):
            typer.echo(f"{name:<11}{record[name]}")
        if gateway := gateway_url(place.root):
            typer.echo(f"{'gateway':<11}{gateway}")
            typer.echo(f"{'grpc':<11}{shown['grpc']}")
        if shown["flink"]:
            typer.echo(f"{'flink':<11}{shown['flink']}  (headrace flink status)")
        typer.echo(f"{'cleaning':<11}{shown['cleaning']}")
        for name, url in shown["metrics"].items():
            typer.echo(f"{'metrics':<11}{url}  {name}")
        for model in models:
            typer.echo(f"{'model':<11}{_told(model)}")
        if unread:
            typer.echo(f"{'models':<11}unknown: {unread}")
    if not healthy:
        down_names = [process["name"] for process in processes if process["state"] != "running"]
        typer.echo(
            f"not running: {', '.join(down_names) or record['state']} (logs in {place.root / 'log'})",
            err=True,
        )
        raise typer.Exit(1)


def doctor(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Check what the local stack needs; for what is wrong, name the command that mends it and exit with 1."""
    from infra.local.doctor import examine

    findings = examine(home.absolute())
    if as_json:
        typer.echo(
            json.dumps(
                {"ok": all(f.ok for f in findings), "checks": [f.as_dict() for f in findings]}, indent=2
            )
        )
    else:
        for finding in findings:
            typer.echo(f"{'ok   ' if finding.ok else 'WRONG'} {finding.name:<14}{finding.told}")
            if not finding.ok:
                typer.echo(f"      {'':<14}→ {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (up, down, status, doctor):
        app.command()(command)


def _seen(process: dict[str, Any]) -> dict[str, Any]:
    """A recorded process with what it takes now; its state is ``gone`` when it no longer lives."""
    import psutil

    from infra.local.home import is_alive

    row = {name: process[name] for name in ("name", "pid", "state", "restarts", "log")}
    row |= {"rss_bytes": 0, "uptime_s": 0.0}
    if process["pid"] is None:
        return row
    if not is_alive(process["pid"], process["pid_started"]):
        return {**row, "state": "gone"}
    row["rss_bytes"] = psutil.Process(process["pid"]).memory_info().rss
    row["uptime_s"] = round(
        (datetime.now(UTC) - datetime.fromisoformat(process["started"])).total_seconds(), 1
    )
    return row


def _given_over(process: dict[str, Any], engine: str) -> bool:
    """Tell whether a worker was stopped because Flink does its work."""
    return engine == "flink" and process["name"] == "streams" and process["state"] == "stopped"


def _flink(root: Path) -> str:
    """Return where the Flink cluster of this data folder answers, or nothing while none runs."""
    from infra.flink.supervise import place_of
    from infra.local.errors import NotRunningError
    from infra.local.home import running_record

    try:
        return str(running_record(place_of(root))["address"])
    except NotRunningError:
        return ""


def _models(root: Path) -> tuple[list[dict[str, Any]], str]:
    """Return what serves, and why that is unknown, if it is."""
    from infra.cli.announced import what_serves
    from infra.runtime.settings import load
    from schemas.errors import HeadraceError

    try:
        return what_serves(load({**os.environ, "HEADRACE_HOME": str(root)})), ""
    except HeadraceError as error:
        return [], str(error)


def _told(model: dict[str, Any]) -> str:
    trial = model["trial"]
    told = f"{model['model']} {model['version']} serves"
    if trial is None:
        return told
    share = f"{trial['share']:.0%} of the events, against {trial['against']}"
    return f"{told}; {trial['version']} is in {trial['stage']}: {share}"


def _print_table(processes: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("process", "state", "pid", "RSS", "uptime", "restarts", box=None)
    for process in processes:
        figures = (
            f"{process['rss_bytes'] / 2**20:.0f} MiB",
            f"{process['uptime_s']:.0f} s",
            str(process["restarts"]),
        )
        table.add_row(process["name"], process["state"], str(process["pid"] or "–"), *figures)
    Console().print(table)


def _teller(as_json: bool) -> Callable[[str], None]:
    """Progress goes to stderr, so that standard output holds the result alone."""
    return lambda line: None if as_json else typer.echo(line, err=True)


def _tell(as_json: bool, value: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(value) if as_json else text)


def _guarded(work: Callable[[], T], as_json: bool) -> T:
    from schemas.errors import HeadraceError

    try:
        return work()
    except HeadraceError as error:
        _fail(error, as_json)


def _fail(error: Exception, as_json: bool) -> NoReturn:
    typer.echo(json.dumps({"error": str(error)}) if as_json else f"error: {error}", err=not as_json)
    raise typer.Exit(1)
