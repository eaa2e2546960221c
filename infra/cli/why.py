"""`headrace models explain`: consumes a release and an event, shows why the model answers it as it does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import Fatal

if TYPE_CHECKING:
    from infra.explained.told import Told
    from trainers.explain.explanation import Explanation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL] [VERSION]", help="requests, 2, requests/2; no version: the champion"),
    ] = None,
    text: Annotated[str | None, typer.Option(help="as table events has it: cleaned, masked")] = None,
    values: Annotated[str | None, typer.Option(help='readings as JSON: {"cpu": 97}')] = None,
    event: Annotated[str | None, typer.Option(metavar="SOURCE/ID", help="an event in ClickHouse")] = None,
    label: Annotated[str | None, typer.Option(help="explain this answer, not the one given")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page to this file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show why a release answers an event as it does: what each word or reading adds.

    Shares of words are integrated gradients, those of readings Shapley values. They add up: with what the
    model says of a text without words, or of a usual row, to the log-odds of the answer, or to the score or
    the number.

        headrace models explain requests --event shop/h-1
        headrace models explain requests 2 --text "GET /search?q=<script>alert()</script>" --html why.html
        headrace models explain host --values '{"cpu": 97, "fan_rpm": 300}'
    """
    from infra.explained.told import Told
    from infra.runtime import settings
    from trainers import folders
    from trainers.explain.answer import explain as explained

    if sum(one is not None for one in (text, values, event)) != 1:
        raise Fatal("give one of --text, --values and --event: what is to be explained")
    readings = _readings(values) if values is not None else {}
    home = settings.home()
    folder = _folder(words or [], home / "releases")
    told = Told()
    if event is not None:
        from infra.explained.event import find

        manifest, _ = folders.read_manifest(home / "releases", folder.parent.name, int(folder.name))
        there = find(settings.load(), manifest.stream, event)
        text, readings, told = there.text, there.values, Told(event, there.label)
        readings = {name: value for name, value in readings.items() if name in manifest.features}
    found = explained(folder, home, text=text or "", values=readings, label=label)
    _show(found, told, html, as_json)


def _show(found: "Explanation", told: "Told", html: Path | None, as_json: bool) -> None:
    import msgspec

    if html is not None:
        from infra.explained.page import page

        try:
            html.write_text(page(found, told), encoding="utf-8")
        except OSError as error:
            raise Fatal(f"{html} cannot be written: {error.strerror}") from error
    if as_json:
        known: dict[str, Any] = msgspec.to_builtins(found)
        typer.echo(json.dumps({**known, "event": told.event, "true_label": told.label}, indent=2))
        return
    from rich.console import Console

    from infra.explained.terminal import explained

    Console(highlight=False).print(explained(found, told))
    if html is not None:
        typer.echo(f"the page is in {html}")


def _folder(words: list[str], releases: Path) -> Path:
    """Return the folder of the release that is meant, the champion's where no version is named."""
    from infra.cli.announced import ALIASES, read_announced, resolve
    from infra.runtime import settings

    parts = [part for word in words for part in word.rsplit("/", 1)]
    named = any(part.isdigit() or part in ALIASES for part in parts)
    wanted = words if named else [*words, "champion"]
    model, versions = resolve(wanted, releases, lambda: read_announced(settings.load()))
    return releases / model / str(versions[0])


def _readings(text: str) -> dict[str, float]:
    """Return readings from JSON.

    Raises:
        Fatal: it is no object of names and numbers.
    """
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, float])
    except msgspec.DecodeError as error:
        raise Fatal(f'--values is no JSON object of numbers such as {{"cpu": 97}}: {error}') from error
