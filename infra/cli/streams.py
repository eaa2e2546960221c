"""`headrace streams`: what runs and what is paused; pause, resume and reset, each with who and why."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from infra.cli.moments import moment
from schemas.control import Action, Control, Scope, Stage
from schemas.errors import Fatal

if TYPE_CHECKING:
    from infra.cli.groups import Move, To
    from infra.runtime.settings import Settings

NameArgument = Annotated[str, typer.Argument(help="a stream of headrace.toml; or give --stage")]
StageOption = Annotated[Stage | None, typer.Option(help="a whole stage instead of one stream")]
ReasonOption = Annotated[str, typer.Option(help="why, for those who see it paused")]
ByOption = Annotated[str, typer.Option(help="who says so", show_default="USER@HOST")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Streams and stages: list, pause, resume, reset.", no_args_is_help=True)
    group.command("list")(list_streams)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("reset")(reset)
    app.add_typer(group, name="streams")


def list_streams(as_json: JsonOption = False) -> None:
    """Show every stream and stage: running or paused, since when, by whom and why, lag and rates."""
    import asyncio

    import msgspec

    from infra.cli.standing import show, standing
    from infra.runtime.settings import load

    found = asyncio.run(standing(load()))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    show(found)


def pause(
    name: NameArgument = "",
    stage: StageOption = None,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Pause a stream: its events wait in events.parked, neither lost nor cleaned. Or a whole stage."""
    _order(name, stage, Action.PAUSED, reason, by, as_json)


def resume(
    name: NameArgument = "",
    stage: StageOption = None,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Resume a stream or a stage: what waited is worked off, each event once."""
    _order(name, stage, Action.RESUMED, reason, by, as_json)


def reset(
    stage: Annotated[Stage, typer.Argument(help="clean or inference; the sink's tables know their place")],
    to: Annotated[str, typer.Option(help="earliest, latest, how long ago (30m, 2h), or a time (ISO 8601)")],
    reason: ReasonOption = "",
    by: ByOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a stage read on from elsewhere. Its workers must be stopped; says first what will follow."""
    import asyncio

    import msgspec

    from infra.cli import groups
    from infra.runtime.settings import load

    settings = load()
    move = asyncio.run(groups.plan(settings, stage, target(to, datetime.now(UTC))))
    if not as_json:
        _explain(move)
    if not move.again and not move.skipped:
        typer.echo(msgspec.json.encode(_told(move, done=False)).decode() if as_json else "nothing to change")
        return
    if not yes:
        if as_json:
            raise Fatal("a reset asks before it acts; with --json add --yes")
        typer.confirm("reset?", abort=True)
    asyncio.run(_reset(settings, move, reason, by))
    if as_json:
        typer.echo(msgspec.json.encode(_told(move, done=True)).decode())
    else:
        typer.echo(f"reset {move.group.name}; next: start its worker (`headrace up`)")


def target(text: str, now: datetime) -> "To":
    """Read where a reset goes to; a time without a zone is UTC.

    Raises:
        typer.BadParameter: it is none of what can be given.
    """
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    return moment(text, now, "--to")


def _order(name: str, stage: Stage | None, action: Action, reason: str, by: str, as_json: bool) -> None:
    import asyncio

    import msgspec

    from infra.runtime.settings import load

    if bool(name) == (stage is not None):
        raise typer.BadParameter("give a stream's name, or --stage clean, sink or inference")
    settings = load()
    if stage is None:
        settings.stream(name)  # says which there are
    scope, target = (Scope.STREAM, name) if stage is None else (Scope.STAGE, stage.value)
    changed, order = asyncio.run(_given(settings, scope, target, action, reason, by))
    if as_json:
        typer.echo(msgspec.json.encode({**msgspec.to_builtins(order), "changed": changed}).decode())
        return
    what = f"{scope.value} {target}"
    if not changed:
        typer.echo(f"{what} is {_ADJECTIVES[action]} already; nothing was changed")
        return
    typer.echo(f"{what} {action.value}; {_WHAT_FOLLOWS[scope, action]}")
    typer.echo("next: headrace streams list")


_ADJECTIVES: Final = {Action.PAUSED: "paused", Action.RESUMED: "running"}
_WHAT_FOLLOWS: Final = {
    (Scope.STREAM, Action.PAUSED): "its events wait (on events.parked 28 days at most), other streams go on",
    (Scope.STREAM, Action.RESUMED): "what waited is cleaned now, in its order, beside what comes",
    (Scope.STAGE, Action.PAUSED): "its workers finish what they hold; its input waits in its topics",
    (Scope.STAGE, Action.RESUMED): "its workers go on where they stood",
}


async def _given(
    settings: "Settings", scope: Scope, name: str, action: Action, reason: str, by: str
) -> tuple[bool, Control]:
    """Write an order, unless it is so already; return whether it was written, and the order that holds."""
    from infra.runtime.control import Controls, give, operator
    from infra.runtime.kafka.admin import create_topics
    from infra.runtime.kafka.produce import Publisher

    await create_topics(settings)
    controls = Controls(settings)
    await controls.load()
    order = Control(
        scope=scope, name=name, action=action, by=by or operator(), reason=reason, at=datetime.now(UTC)
    )
    holds = controls.newest(scope, name)
    if (holds.action if holds else Action.RESUMED) is action:
        return False, holds or order
    async with Publisher(settings, "headrace-operator") as publisher:
        await give(publisher, order)
    return True, order


async def _reset(settings: "Settings", move: "Move", reason: str, by: str) -> None:
    from infra.cli import groups
    from infra.runtime.control import give, operator
    from infra.runtime.kafka.admin import create_topics
    from infra.runtime.kafka.produce import Publisher

    await create_topics(settings)
    await groups.carry_out(settings, move)
    order = Control(
        scope=Scope.STAGE,
        name=move.group.stage.value,
        action=Action.RESET,
        by=by or operator(),
        reason=reason,
        at=datetime.now(UTC),
        before=move.offsets("before"),
        after=move.offsets("after"),
    )
    async with Publisher(settings, "headrace-operator") as publisher:
        await give(publisher, order)


def _explain(move: "Move") -> None:
    before, after = move.offsets("before"), move.offsets("after")
    for place in sorted(after):
        typer.echo(f"{place:<28}{before[place]:>12} → {after[place]}")
    if move.again:
        typer.echo(
            f"{move.again} records are read again: events that were accepted are dropped as duplicates (the"
            " dedupe window remembers them), those that were rejected become dead letters once more"
        )
    if move.skipped:
        typer.echo(
            f"{move.skipped} records are passed over: this stage will never see them unless it is reset back"
        )


def _told(move: "Move", *, done: bool) -> dict[str, Any]:
    return {
        "stage": move.group.stage.value,
        "group": move.group.name,
        "before": move.offsets("before"),
        "after": move.offsets("after"),
        "read_again": move.again,
        "passed_over": move.skipped,
        "reset": done,
    }
