"""`headrace models …`: consumes release folders and `models.releases`, shows, compares and announces them."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from infra.cli import compress, promote, prune, reproduce, why
from infra.cli.promote import Words

if TYPE_CHECKING:
    from infra.cli.announced import Announced
    from infra.runtime.settings import Settings
    from schemas.release import Manifest

_models: Final = typer.Typer(
    name="models",
    help="List, show and compare releases; explain answers; promote, roll back, train again, prune.\n\n"
    "A VERSION is a number (2), a model and a number (requests/2, or requests 2) or an alias: champion"
    " serves, previous served before it, latest is the newest release."
    " The model may be left out where that is clear.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for part in (promote, reproduce, compress, prune, why):
        part.register(_models)
    app.add_typer(_models)


@_models.command("list")
def list_models(
    model: Annotated[str | None, typer.Argument(help="only this model")] = None, as_json: AsJson = False
) -> None:
    """List every release and rejected candidate: what serves, what served before, why not."""
    from infra.cli.announced import models_in, one_model, read_announced
    from infra.runtime import settings

    loaded = settings.load()
    announced = read_announced(loaded)
    if model is not None:
        one_model(model, announced.models | models_in(loaded.releases))
    rows = [row for row in _rows(loaded, announced) if model in {None, row["model"]}]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        _table(rows)
    else:
        typer.echo("no release yet: the trainer writes the first as soon as there are labelled events enough")


@_models.command("show")
def show(words: Words, as_json: AsJson = False) -> None:
    """Show one release: its model card, or manifest and card as JSON; of a rejected candidate the card.

    The card says what it learnt from, what it showed, where it is weak, which alert asked for it, its parent,
    and the settings and software that made it.
    """
    from infra.cli.announced import read_announced, rejected_cards, resolve
    from infra.runtime import settings
    from schemas import codec
    from trainers import folders

    home = settings.home()
    releases, rejected = home / "releases", rejected_cards(home)
    model, versions = resolve(words, releases, lambda: read_announced(settings.load()), rejected=rejected)
    if versions[0] not in folders.versions(releases, model):
        card = rejected[model, versions[0]]
        typer.echo((card if as_json else card.with_suffix(".md")).read_text(encoding="utf-8"))
        return
    folder = releases / model / str(versions[0])
    manifest, digest = folders.read_manifest(releases, model, versions[0])
    card = folder / folders.CARD
    if as_json:
        told = json.loads(codec.encode(manifest)) | {"sha256": digest, "folder": str(folder)}
        told["card"] = json.loads(card.read_bytes()) if card.is_file() else None
        typer.echo(json.dumps(told, indent=2))
        return
    text = folder / folders.CARD_TEXT
    typer.echo(
        text.read_text(encoding="utf-8") if text.is_file() else f"{model} {versions[0]}: no model card"
    )
    typer.echo(f"sha256: {digest}\nfolder: {folder}")


@_models.command("diff")
def diff(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[MODEL] A B", help="two versions, such as 1 2, or previous champion"),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two releases of a model: metrics, labels, training range, settings."""
    from infra.cli.announced import read_announced, resolve
    from infra.runtime import settings
    from trainers import folders

    releases = settings.home() / "releases"
    model, (first, second) = resolve(words, releases, lambda: read_announced(settings.load()), count=2)
    before, after = (folders.read_manifest(releases, model, version)[0] for version in (first, second))
    changes = compare(before, after)
    if as_json:
        typer.echo(json.dumps(changes, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", f"{model} {first}", f"{model} {second}", "change", box=None)
    for name, (old, new) in changes.items():
        both = isinstance(old, float) and isinstance(new, float)
        table.add_row(name, _shown(old), _shown(new), f"{new - old:+.4f}" if both else "")
    Console(highlight=False).print(table)


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


def _rows(settings: "Settings", announced: "Announced") -> list[dict[str, Any]]:
    """Return all releases on disk and all that was said on the topic, with what serves now."""
    from infra.cli.announced import behind, models_in
    from schemas import codec
    from trainers import folders

    found: dict[tuple[str, int], dict[str, Any]] = {}
    store = behind(settings.releases)
    for model, versions in store.stored().items():
        for version in versions:
            if version not in folders.versions(settings.releases, model):
                manifest = store.manifest(model, version)
                found[model, version] = _row(json.loads(codec.encode(manifest)), "released")
    for model in models_in(settings.releases):
        for version in folders.versions(settings.releases, model):
            manifest, _ = folders.read_manifest(settings.releases, model, version)
            found[model, version] = _row(json.loads(codec.encode(manifest)), "released")
    for key, release in announced.judged.items():
        row = _row(json.loads(codec.encode(release)), release.state.value)
        found[key] = found.get(key, row) | {"state": row["state"], "reasons": row["reasons"]}
    for model, release in announced.serving.items():
        key = (model, release.version)
        row = _row(json.loads(codec.encode(release)), "serving")
        found[key] = found.get(key, row) | {
            "state": "serving",
            "reasons": row["reasons"],
            "aliases": ["champion"],
        }
        for version in release.served_before:  # promoted again since it was rolled back
            if (known := found.get((model, version))) is not None and known["state"] == "rolled_back":
                known |= {"state": "released", "reasons": []}
        if release.served_before and (known := found.get((model, release.served_before[-1]))) is not None:
            known["aliases"] = ["previous"]
    for model in announced.models:
        trial = announced.trial(model)
        if trial is not None and trial.rollout is not None:
            key = (model, trial.version)
            row = found.get(key, _row(json.loads(codec.encode(trial)), "released"))
            found[key] = row | {"rollout": json.loads(codec.encode(trial.rollout))}
            if trial.staged:
                found[key] |= {"state": trial.rollout.stage.value, "reasons": list(trial.reasons)}
    return [found[key] for key in sorted(found)]


def _row(record: dict[str, Any], state: str) -> dict[str, Any]:
    kept = ("model", "version", "stream", "parent", "alert", "created_at")
    row = {name: record.get(name) for name in kept} | {"state": state, "aliases": []}
    row |= {"accuracy": record["metrics"].get("accuracy"), "reasons": record.get("reasons", [])}
    return {**row, "rollout": None}


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "version", "state", "accuracy", "parent", "made", "alert", "why", box=None)
    for row in rows:
        accuracy, aliases = row["accuracy"], [alias for alias in row["aliases"] if alias != "champion"]
        table.add_row(
            row["model"],
            str(row["version"]),
            " ".join([row["state"], *aliases, *_trial(row["rollout"])]),
            "" if accuracy is None else f"{accuracy:.4f}",
            str(row["parent"] or ""),
            str(row["created_at"])[:19].replace("T", " "),
            row["alert"] or "",
            "; ".join(row["reasons"]),
        )
    Console(highlight=False).print(table)


def _trial(rollout: dict[str, Any] | None) -> list[str]:
    """Say what share of the events a release on trial is compared on, with which version and until when."""
    if rollout is None:
        return []
    ends = datetime.fromisoformat(rollout["since"]) + timedelta(seconds=rollout["window_s"])
    if rollout["stage"] == "full" and ends <= datetime.now(UTC):
        return []
    least = "until" if rollout["stage"] == "full" else "at least until"
    return [f"({rollout['share']:.0%} against {rollout['against']}, {least} {ends:%H:%M:%S})"]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)
