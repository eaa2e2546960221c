"""`headrace models …`: consumes release folders and `models.releases`, shows and announces them."""

import asyncio
import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from infra.runtime.settings import Settings
    from schemas.release import Manifest, Release

_models: Final = typer.Typer(
    name="models", help="List, show and compare releases; promote or roll back.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
ModelName = Annotated[str, typer.Argument(help="the model, as `headrace models list` names it")]
Version = Annotated[int, typer.Argument(help="its version number", min=1)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_models)


@_models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List every release, and which one serves."""
    from infra.runtime import settings

    records = _records(settings.load())
    rows = [_row(record) for record in records]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo("no release yet: the trainer writes the first as soon as there are labelled events enough")
    for row in rows:
        figures = f"accuracy {row['accuracy']:.4f}" if row["accuracy"] is not None else ""
        line = f"{row['model']:<20} {row['version']:>4}  {row['state']:<10} {figures:<16} {row['created_at']}"
        typer.echo(f"{line}  {'; '.join(row['reasons'])}" if row["state"] == "rejected" else line)


@_models.command("show")
def show(model: ModelName, version: Version, as_json: AsJson = False) -> None:
    """Show one release: its model card, or its manifest as JSON."""
    from infra.runtime import settings
    from schemas import codec

    folder = settings.home() / "releases" / model / str(version)
    manifest = _manifest(settings.home(), model, version)
    if as_json:
        typer.echo(json.dumps(json.loads(codec.encode(manifest)), indent=2))
        return
    card = folder / "model_card.md"
    typer.echo(card.read_text(encoding="utf-8") if card.is_file() else f"{model} {version}: no model card")
    typer.echo(f"folder: {folder}")


@_models.command("promote")
def promote(model: ModelName, version: Version, as_json: AsJson = False) -> None:
    """Make serving follow this release."""
    _publish(model, version, "promoted by hand", as_json=as_json)


@_models.command("rollback")
def rollback(
    model: ModelName,
    to: Annotated[int | None, typer.Option(min=1, help="the version; its parent by default")] = None,
    as_json: AsJson = False,
) -> None:
    """Make serving go back to the release that the serving one was continued from."""
    from infra.runtime import settings
    from schemas.errors import Fatal

    if to is None:
        serving = [r for r in _records(settings.load()) if r["model"] == model and r["state"] == "serving"]
        if not serving:
            raise Fatal(f"no release of {model!r} serves, so there is nothing to roll back")
        to = serving[0]["parent"]
        if to is None:
            raise Fatal(f"{model} {serving[0]['version']} is a first release; name another with --to VERSION")
    _publish(model, to, "rolled back by hand", as_json=as_json)


@_models.command("diff")
def diff(
    model: ModelName,
    first: Annotated[int, typer.Argument(min=1)],
    second: Annotated[int, typer.Argument(min=1)],
    as_json: AsJson = False,
) -> None:
    """Compare two releases: metrics, labels, training range, files."""
    from infra.runtime import settings

    before, after = (_manifest(settings.home(), model, version) for version in (first, second))
    changes = compare(before, after)
    if as_json:
        typer.echo(json.dumps(changes, indent=2))
        return
    typer.echo(f"{model}: version {first} -> {second}")
    for name, (old, new) in changes.items():
        change = f"  ({new - old:+.4f})" if isinstance(old, float) and isinstance(new, float) else ""
        typer.echo(f"  {name:<28} {old} -> {new}{change}")


def compare(before: "Manifest", after: "Manifest") -> dict[str, list[Any]]:
    """Return what differs between two manifests, each as [before, after]."""
    from schemas import codec

    flat: list[dict[str, Any]] = []
    for manifest in (before, after):
        fields = json.loads(codec.encode(manifest))
        named = {
            name: fields[name] for name in ("parent", "alert", "labels", "features", "serve", "created_at")
        }
        named |= {f"metrics.{name}": float(value) for name, value in fields["metrics"].items()}
        named |= {f"training.{name}": value for name, value in (fields["training"] or {}).items()}
        flat.append(named)
    names = sorted(flat[0].keys() | flat[1].keys())
    return {n: [flat[0].get(n), flat[1].get(n)] for n in names if flat[0].get(n) != flat[1].get(n)}


def _manifest(home: Path, model: str, version: int) -> "Manifest":
    """Read a release's manifest; say which releases there are if it is not one of them."""
    from schemas import codec
    from schemas.errors import Fatal
    from schemas.release import Manifest

    path = home / "releases" / model / str(version) / "manifest.json"
    if path.is_file():
        return codec.decode(path.read_bytes(), Manifest)
    models = sorted(entry.name for entry in (home / "releases").glob("*") if entry.is_dir())
    if model not in models:
        near = difflib.get_close_matches(model, models, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(models) or 'none'}"
        raise Fatal(f"no model is called {model!r}; {hint}")
    there = sorted(int(e.name) for e in (home / "releases" / model).iterdir() if e.name.isdigit())
    raise Fatal(f"{model} has no release {version}; there are: {', '.join(map(str, there)) or 'none'}")


def _records(settings: "Settings") -> list[dict[str, Any]]:
    """Return all releases on disk and all rejections on the topic, with what serves now."""
    import msgspec

    from schemas import codec
    from schemas.release import Manifest

    announced = asyncio.run(_announced(settings))
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for path in settings.releases.glob("*/*/manifest.json"):
        if path.parent.name.isdigit():
            manifest = codec.decode(path.read_bytes(), Manifest)
            found[manifest.model, manifest.version] = {**msgspec.to_builtins(manifest), "state": "released"}
    for key, release in announced.items():
        serving = "/" not in key
        known = found.setdefault((release.model, release.version), msgspec.to_builtins(release))
        known["state"] = "serving" if serving else release.state.value
        known["reasons"] = list(release.reasons)
    return [found[key] for key in sorted(found)]


async def _announced(settings: "Settings") -> dict[str, "Release"]:
    """Return the newest record of each key on `models.releases`."""
    from infra.runtime.kafka.follow import follow
    from schemas import codec, topics
    from schemas.release import Release

    newest: dict[str, Release] = {}
    async for incoming in follow(settings, [topics.RELEASES], start="beginning", stop_at_end=True):
        if incoming.key is not None and incoming.value is not None:
            newest[incoming.key.decode()] = codec.decode(incoming.value, Release)
    return newest


def _row(record: dict[str, Any]) -> dict[str, Any]:
    kept = ("model", "version", "stream", "state", "parent", "alert", "created_at")
    row = {name: record.get(name) for name in kept}
    return {**row, "accuracy": record["metrics"].get("accuracy"), "reasons": record.get("reasons", [])}


def _publish(model: str, version: int, reason: str, *, as_json: bool) -> None:
    """Announce a release folder as the one to serve, after checking that its files are those released."""
    from infra.runtime import settings as runtime
    from infra.runtime.kafka.produce import Publisher
    from schemas import codec, topics
    from schemas.record import Outgoing
    from trainers import folders as releases

    settings = runtime.load()
    _manifest(settings.home, model, version)
    releases.verify(settings.releases, model, version)
    record = releases.record(settings.releases, model, version, (reason,))

    async def send() -> None:
        async with Publisher(settings, "headrace-models") as publisher:
            await publisher.send(Outgoing(topics.RELEASES.name, model.encode(), codec.encode(record)))

    asyncio.run(send())
    if as_json:
        typer.echo(codec.encode(record).decode())
    else:
        typer.echo(
            f"{model} {version} is announced; `headrace tail models.swaps` shows when serving has taken it"
        )
