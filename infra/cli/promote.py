"""`headrace models promote` and `rollback`: release folders in, records on `models.releases` out."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.runtime.settings import Settings
    from schemas.release import Release, Swap

Words = Annotated[
    list[str], typer.Argument(metavar="[MODEL] VERSION", help="2, requests/2, champion, previous or latest")
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Reason = Annotated[str, typer.Option(help="why, for those who read `headrace models list`")]
Wait = Annotated[
    float, typer.Option(help="wait so many seconds for a serving worker to take it or refuse it; 0: do not")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("promote")(promote)
    app.command("rollback")(rollback)


def promote(words: Words, reason: Reason = "", wait: Wait = 0.0, as_json: AsJson = False) -> None:
    """Make serving follow a release that is on disk or in the release store: the next champion.

    Every file is checked by its sha256 first. Serving loads it beside the champion, checks it once more and
    goes over between two batches; no event waits for it. What served until now is `previous`.

        headrace models promote requests 3 --wait 30
    """
    from infra.cli.announced import behind, read_announced, resolve
    from infra.runtime.settings import load
    from trainers.succession import promoted

    settings = load()
    announced = read_announced(settings)
    model, versions = resolve(words, settings.releases, lambda: announced)
    serving = announced.serving.get(model)
    release = promoted(settings.releases, model, versions[0], serving, _because("promoted", reason))
    _announce(settings, [behind(settings.releases).publish(release)], wait, as_json)


def rollback(
    model: Annotated[str | None, typer.Argument(help="the model; may be left out where there is one")] = None,
    to: Annotated[int | None, typer.Option(min=1, help="a version; else what served before this one")] = None,
    reason: Reason = "",
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Make serving go back to the version that served before this one.

    A release in shadow or canary is taken back before all. A second rollback goes one further back, never
    forth again. The version left is marked `rolled_back`; it stays on disk and can be promoted again. The
    loop goes on learning, from the version that serves now.

        headrace models rollback requests --reason "calls searches injections" --wait 30
    """
    import msgspec

    from infra.cli.announced import behind, models_in, one_model, read_announced, resolve
    from infra.runtime.settings import load
    from schemas.release import State
    from trainers.succession import rolled_back

    settings = load()
    announced = read_announced(settings)
    name = one_model(
        model, set(announced.serving) if model is None else announced.models | models_in(settings.releases)
    )
    serving = announced.serving.get(name)
    if serving is None:
        raise Fatal(f"no release of {name!r} serves, so there is nothing to roll back")
    because = _because("rolled back", reason)
    trial = announced.trial(name)
    if to is None and trial is not None and trial.staged:
        left = msgspec.structs.replace(trial, state=State.ROLLED_BACK, reasons=(because,))
        _announce(settings, [left], 0.0, as_json)
        return
    if to is not None:
        resolve([name, str(to)], settings.releases, lambda: announced)  # says which there are
    store = behind(settings.releases)
    if to is None:  # what served before may lie in the store alone
        next((version for version in reversed(serving.served_before) if store.bring(name, version)), None)
    back, left = rolled_back(settings.releases, serving, to, because)
    _announce(settings, [store.published_before(back), left], wait, as_json)


def _because(what: str, reason: str) -> str:
    from infra.runtime.control import operator

    return f"{what} by {operator()}" + (f": {reason}" if reason else "")


def _announce(settings: "Settings", releases: "Sequence[Release]", wait_s: float, as_json: bool) -> None:
    """Publish records, the one to serve first; then say what became of it, as far as it was waited for."""
    from schemas import codec

    serving = releases[0]
    swap = asyncio.run(_send(settings, releases, wait_s))
    if as_json:
        typer.echo(codec.encode(serving).decode())
    elif serving.state == "rolled_back":
        typer.echo(f"{serving.model} {serving.version} is taken back; what serves goes on serving")
    elif swap is None:
        typer.echo(
            f"{serving.model} {serving.version} is announced; `headrace tail models.swaps` shows its swap"
        )
    elif swap.outcome == "swapped":
        typer.echo(
            f"{serving.model} {serving.version} serves; loaded in {swap.load_ms:.0f} ms by {swap.worker}"
        )
    if swap is not None and swap.outcome != "swapped":
        raise Fatal(f"{swap.worker} refused {serving.model} {serving.version}: {swap.message}")
    if swap is None and wait_s:
        raise Fatal(f"no worker took {serving.model} {serving.version} within {wait_s:g} s; is serving up?")


async def _send(settings: "Settings", releases: "Sequence[Release]", wait_s: float) -> "Swap | None":
    from infra.runtime.kafka.produce import Publisher
    from trainers.succession import announcement

    began = datetime.now(UTC)
    async with Publisher(settings, "headrace-models") as publisher:
        for release in releases:
            await publisher.send(announcement(release))
    if wait_s:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                return await _taken(settings, releases[0], began)
    return None


async def _taken(settings: "Settings", release: "Release", began: datetime) -> "Swap | None":
    """Wait for the first worker that took a release or refused it."""
    from infra.runtime.kafka.follow import follow
    from schemas import codec, topics
    from schemas.release import Swap

    async for record in follow(settings, [topics.SWAPS], start=began):
        swap = codec.decode(record.value or b"", Swap)
        if swap.sha256 == release.sha256 and swap.outcome in {"swapped", "rejected"}:
            return swap
    return None
