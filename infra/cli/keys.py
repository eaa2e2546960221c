"""`headrace keys`: the gateway's API keys, made, listed and revoked in the data folder, without a stack."""

import getpass
import socket
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from schemas.errors import Fatal
from serving.gateway.scopes import Scope

ByOption = Annotated[str, typer.Option(help="who says so", show_default="USER@HOST")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="API keys of the gateway: create, list, revoke.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Argument(help="who will use it, such as shop or grafana")],
    scope: Annotated[list[Scope], typer.Option(help="what it may do; may be given more than once")],
    expires: Annotated[str, typer.Option(help="after so long, such as 90d; without it, never")] = "",
    requests_per_s: Annotated[
        float | None, typer.Option(min=0, help="its own limit, instead of gateway.limits; 0: none")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="requests at once, as above")] = None,
    events_per_day: Annotated[int | None, typer.Option(min=0, help="its quota, as above; 0: none")] = None,
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, this once: only its hash is kept.

    With the first key the gateway asks everybody for one (gateway.auth = "auto"); a running gateway takes
    notice within seconds.
    """
    import msgspec

    from infra.runtime.settings import home
    from serving.gateway import keys

    now = datetime.now(UTC)
    id, secret = keys.fresh()
    made = keys.Key(
        id=id,
        name=name,
        sha256="",
        scopes=tuple(dict.fromkeys(scope)),
        created_at=now,
        created_by=by or _whoever(),
        expires_at=now + timedelta(seconds=_duration_s(expires)) if expires else None,
        requests_per_s=requests_per_s,
        burst=burst,
        events_per_day=events_per_day,
    )
    text = keys.create(home(), made, secret)
    if as_json:
        shown = {
            "id": made.id,
            "name": name,
            "key": text,
            "scopes": made.scopes,
            "expires_at": made.expires_at,
        }
        typer.echo(msgspec.json.encode(shown).decode())
        return
    typer.echo(text)
    typer.secho(
        f"key {made.id} ({name}) may: {', '.join(made.scopes)}. It is shown this once; send it as"
        " `Authorization: Bearer …` or `X-API-Key: …`",
        err=True,
        dim=True,
    )


def list_keys(as_json: JsonOption = False) -> None:
    """Show every key that there ever was: what it may do, until when, and who made or revoked it."""
    import msgspec

    from infra.runtime.settings import home
    from serving.gateway import keys

    now = datetime.now(UTC)
    kept = keys.read(home()) or []
    if as_json:
        shown: list[dict[str, Any]] = [
            {**msgspec.to_builtins(key), "standing": key.standing(now)} for key in kept
        ]
        for one in shown:
            del one["sha256"]
        typer.echo(msgspec.json.encode({"keys": shown}).decode())
        return
    if not kept:
        typer.echo("there is no key; make one: headrace keys create NAME --scope publish")
        return
    typer.echo(f"{'id':<14}{'name':<20}{'standing':<10}{'scopes':<28}{'expires':<18}made by")
    for key in kept:
        until = f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never"
        scopes = ", ".join(key.scopes)
        typer.echo(
            f"{key.id:<14}{key.name:<20}{key.standing(now):<10}{scopes:<28}{until:<18}{key.created_by}"
        )


def revoke(
    key: Annotated[str, typer.Argument(help="its id, or its name")],
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: running gateways refuse it within seconds, and for good."""
    import msgspec

    from infra.runtime.settings import home
    from serving.gateway import keys

    revoked = keys.revoke(home(), key, by or _whoever(), datetime.now(UTC))
    if as_json:
        shown = {"id": revoked.id, "name": revoked.name, "revoked_at": revoked.revoked_at}
        typer.echo(msgspec.json.encode(shown).decode())
        return
    typer.echo(f"key {revoked.id} ({revoked.name}) is revoked")


def _duration_s(text: str) -> float:
    from schemas.section import duration_s

    try:
        seconds = float(duration_s(text))
    except ValueError as error:
        raise Fatal(f"--expires: {error}") from error
    if seconds <= 0:
        raise Fatal("--expires: a key that has expired already is of no use")
    return seconds


def _whoever() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
