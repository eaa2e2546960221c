"""`headrace dead`: what was turned away, from `events.dead`: listed, shown, and sent again after a fix."""

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote

import typer

from schemas.errors import Fatal, Reason

if TYPE_CHECKING:
    from infra.cli.replay import Letter, Outcome
    from infra.runtime.settings import Settings
    from schemas.dead import Dead
    from schemas.record import Coordinates

_SHOWN_BYTES: Final = 4000
_SHOWN_MESSAGE: Final = 100

ReasonOption = Annotated[Reason | None, typer.Option(help="only those turned away for this reason")]
StreamOption = Annotated[str, typer.Option(help="only those of this stream, as far as it was known")]
SinceOption = Annotated[
    str, typer.Option(help="only those rejected since: 30m, 2h, 1d, or a time (ISO 8601)")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Dead letters: list, show, replay.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("replay")(replay)
    app.add_typer(group, name="dead")


def list_letters(
    reason: ReasonOption = None,
    stream: StreamOption = "",
    since: SinceOption = "",
    limit: Annotated[int, typer.Option(min=1, help="show the newest so many")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, newest last, with a count by reason."""
    import asyncio

    import msgspec

    from infra.runtime.settings import load

    counts, newest, replayed = asyncio.run(_listed(load(), _wanted(reason, stream, since), limit))
    if as_json:
        shown = [_summary(letter, replayed) for letter in newest]
        found = {"count": counts.total(), "by_reason": dict(counts), "letters": shown}
        typer.echo(msgspec.json.encode(found).decode())
        return
    for letter in newest:
        dead = letter.dead
        at = dead.rejected_at.strftime("%m-%d %H:%M:%S")
        who = " ".join(part for part in (dead.stream, dead.source, dead.id) if part) or "-"
        what = _shortened(dead.message) + _history(letter, replayed)
        typer.echo(f"{letter.id:<8} {at}  {dead.reason.value:<20} {who}  {what}")
    by_reason = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    typer.echo(f"{counts.total()} dead letters" + (f": {by_reason}" if by_reason else ""))
    if newest:
        typer.echo(f"next: headrace dead show {newest[-1].id} · headrace dead replay --id {newest[-1].id}")


def show(
    id: Annotated[str, typer.Argument(help="a dead letter's id, such as 0:42")], as_json: JsonOption = False
) -> None:
    """Show one dead letter: why, where it lay, and its original bytes."""
    import asyncio

    import msgspec

    from infra.cli.replay import letter_at
    from infra.runtime.settings import load

    letter = asyncio.run(letter_at(load(), id))
    if as_json:
        whole = {"letter": letter.id, **msgspec.to_builtins(letter.dead), "text": _text(letter.dead.original)}
        typer.echo(msgspec.json.encode(whole).decode())
        return
    for name, value in _facts(letter.dead).items():
        typer.echo(f"{name:<12}{value}")
    original = letter.dead.original
    typer.echo(f"{'original':<12}{len(original)} bytes")
    typer.echo(_text(original[:_SHOWN_BYTES]) + ("…" if len(original) > _SHOWN_BYTES else ""))
    typer.echo(f"next: headrace dead replay --id {letter.id} [--fix COMMAND]")


def replay(
    reason: ReasonOption = None,
    stream: StreamOption = "",
    since: SinceOption = "",
    id: Annotated[list[str] | None, typer.Option(help="this one; may be given several times")] = None,
    every: Annotated[bool, typer.Option("--all", help="all there are")] = False,
    fix: Annotated[str, typer.Option(help="a command: original on its input, mended on its output")] = "",
    again: Annotated[bool, typer.Option("--again", help="also what was replayed before")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the original bytes, headers and key to events.raw again; each letter once, unless --again."""
    import asyncio

    import msgspec

    from infra.runtime.settings import load

    if not (reason or stream or since or id or every):
        raise typer.BadParameter("say which: --id, --reason, --stream, --since or --all")
    wanted = _wanted(reason, stream, since)
    outcome = asyncio.run(_replayed(load(), wanted, id or [], again=again, fix=fix))
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        _tell(outcome)
    if outcome.unfixed or outcome.too_old:
        raise typer.Exit(1)


async def _listed(
    settings: "Settings", wanted: "Callable[[Letter], bool]", limit: int
) -> "tuple[Counter[str], deque[Letter], dict[str, str]]":
    """Return counts by reason, the newest letters, and as which letter a replayed one came back."""
    from infra.cli.replay import letters

    counts: Counter[str] = Counter()
    newest: deque[Letter] = deque(maxlen=limit)
    replayed: dict[str, str] = {}
    async for letter in letters(settings, wanted):
        counts[letter.dead.reason.value] += 1
        newest.append(letter)
        if letter.came_back_from:
            replayed[letter.came_back_from] = letter.id
    return counts, newest, replayed


async def _replayed(
    settings: "Settings", wanted: "Callable[[Letter], bool]", ids: list[str], *, again: bool, fix: str
) -> "Outcome":
    from infra.cli import replay as replays

    if ids:
        named = [await replays.letter_at(settings, one) for one in dict.fromkeys(ids)]
        chosen = [letter for letter in named if wanted(letter)]
        if len(chosen) < len(named):
            raise Fatal("an --id is not of the --reason or --stream that was given")
    else:
        chosen = [letter async for letter in replays.letters(settings, wanted)]
    return await replays.replay(settings, chosen, again=again, fix=fix)


def _wanted(reason: Reason | None, stream: str, since: str) -> "Callable[[Letter], bool]":
    from infra.cli.moments import moment

    start = moment(since, datetime.now(UTC), "--since") if since else None
    return lambda letter: (
        (reason is None or letter.dead.reason is reason)
        and (not stream or letter.dead.stream == stream)
        and (start is None or letter.dead.rejected_at >= start)
    )


def _history(letter: "Letter", replayed: "dict[str, str]") -> str:
    """Say of which letter this is the replay, and where it came back itself."""
    before = f" · replay of {letter.came_back_from}" if letter.came_back_from else ""
    after = f" · replayed, came back as {replayed[letter.id]}" if letter.id in replayed else ""
    return before + after


def _shortened(message: str) -> str:
    return message if len(message) <= _SHOWN_MESSAGE else f"{message[: _SHOWN_MESSAGE - 1]}…"


def _tell(outcome: "Outcome") -> None:
    for id, why in outcome.unfixed.items():
        typer.echo(f"{id}: not sent, {why}", err=True)
    if outcome.too_old:
        ids = ", ".join(outcome.too_old[:10])
        typer.echo(
            f"older than events.raw is kept, so perhaps sent before: {ids}; send with --again", err=True
        )
    before = f", {len(outcome.replayed_before)} replayed before" if outcome.replayed_before else ""
    typer.echo(f"sent {len(outcome.sent)} again{before}")
    if outcome.sent:
        typer.echo("next: headrace dead list · headrace tail events.clean --from 1m")


def _summary(letter: "Letter", replayed: "dict[str, str]") -> dict[str, Any]:
    dead = letter.dead
    return {
        "letter": letter.id,
        "rejected_at": dead.rejected_at,
        "reason": dead.reason.value,
        "field": dead.field,
        "message": dead.message,
        "stage": dead.stage,
        "stream": dead.stream,
        "source": dead.source,
        "id": dead.id,
        "raw": dead.raw,
        "bytes": len(dead.original),
        "replay_of": letter.came_back_from,
        "came_back_as": replayed.get(letter.id, ""),
    }


def _facts(dead: "Dead") -> dict[str, str]:
    facts = {
        "reason": dead.reason.value,
        "message": dead.message,
        "field": dead.field,
        "stage": dead.stage,
        "rejected at": dead.rejected_at.isoformat(),
        "raw": _place(dead.raw),
        "stream": dead.stream,
        "source": dead.source,
        "id": dead.id,
        "key": _text(dead.key or b""),
        "headers": ", ".join(f"{name}={_text(value)}" for name, value in dead.headers),
    }
    return {name: value for name, value in facts.items() if value}


def _place(raw: "Coordinates") -> str:
    """Say where a record lay: on a topic, whose name has no slash, or in a file."""
    if "/" in raw.topic:
        return f"line {raw.offset} of {unquote(raw.topic.removeprefix('file://'))}"
    return f"{raw.topic} {raw.partition}:{raw.offset}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="backslashreplace")
