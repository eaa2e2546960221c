"""`headrace models prune`: release folders that nobody needs any more are named and, with --yes, deleted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from infra.runtime.settings import Settings
    from trainers.pruning import Plan

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prune")(prune)


def prune(
    model: Annotated[str | None, typer.Argument(help="only this model; else all")] = None,
    keep: Annotated[int, typer.Option(min=0, help="keep so many releases before the champion")] = 5,
    older_than: Annotated[str, typer.Option(help="keep what is younger, such as 12h or 7d")] = "7d",
    yes: Annotated[bool, typer.Option("--yes", help="delete; without it, only say what would be")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old releases, here and in the release store; without --yes, only say which.

    Always kept: the champion, what serves on any worker, the newest --keep others, what an alias names
    (MLflow's included), what is younger than --older-than, and the parent of each of these, so that they can
    be trained again. A deleted version can no longer be promoted; its metrics and card stay in the registry.

        headrace models prune --keep 3 --older-than 1d
        headrace models prune --keep 3 --older-than 1d --yes
    """
    from infra.cli.announced import behind, models_in, one_model, read_announced, still_served
    from infra.runtime.settings import load
    from schemas.section import duration_s
    from trainers.pruning import delete, plan

    try:
        younger_than = timedelta(seconds=duration_s(older_than))
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from None
    settings = load()
    store = behind(settings.releases)
    stored = store.stored()
    there = models_in(settings.releases) | set(stored)
    models = sorted(there) if model is None else [one_model(model, there)]
    announced = read_announced(settings)
    serving = announced.serving
    served = asyncio.run(still_served(settings, serving))
    for name in models:  # in shadow or canary it is asked too
        if (trial := announced.trial(name)) is not None:
            served[name].add(trial.version)
    aliased, registry = _aliases(settings.home, models)
    plans = [
        plan(
            settings.releases, name, serving=serving.get(name), keep=keep,
            elsewhere={v: store.manifest(name, v) for v in _away(settings, name, stored.get(name, []))},
            swapped=served[name], aliased=aliased[name],
            younger_than=younger_than, now=datetime.now(UTC),
        )
        for name in models
    ]  # fmt: skip
    if yes:
        for each in plans:
            for version in each.doomed:
                store.delete(each.model, version)
                delete(settings.releases, each.model, version)
                if registry is not None:
                    registry.pruned(each.model, version)
    _tell(plans, yes, as_json)


def _away(settings: "Settings", model: str, stored: list[int]) -> set[int]:
    """Return the versions that are in the release store alone."""
    from trainers import folders

    return set(stored) - set(folders.versions(settings.releases, model))


def _aliases(home: Any, models: list[str]) -> tuple[dict[str, dict[str, int]], Any]:
    """Return what aliases name, and the registry they are in, if there is one."""
    import os

    from trainers.quiet import quietly
    from trainers.registry import open_registry

    if not (home / "mlflow.db").is_file() and not os.environ.get("MLFLOW_TRACKING_URI"):
        return {model: {} for model in models}, None
    with quietly():
        registry = open_registry(home)
        return {model: registry.aliased(model) for model in models}, registry


def _tell(plans: "list[Plan]", done: bool, as_json: bool) -> None:
    if as_json:
        told = {
            each.model: {
                "deleted" if done else "would_delete": each.doomed,
                "bytes": sum(each.doomed.values()),
                "kept": each.kept,
            }
            for each in plans
        }
        typer.echo(json.dumps(told, indent=2))
        return
    for each in plans:
        for version, reason in each.kept.items():
            typer.echo(f"{each.model} {version}: kept, {reason}")
        for version, size in each.doomed.items():
            typer.echo(
                f"{each.model} {version}: {'deleted' if done else 'to delete'}, {size / 2**20:.1f} MiB"
            )
    if not any(each.doomed for each in plans):
        typer.echo("nothing to delete")
    elif not done:
        typer.echo("nothing is deleted yet; the same command with --yes does it")
