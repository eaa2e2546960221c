"""Which release serves after which: consumes the serving release and its successor, produces announcements.

Nothing here imports torch: the trainer's loop and `headrace models` announce by the same rules.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from schemas import codec, topics
from schemas.errors import Fatal
from schemas.record import Outgoing
from schemas.release import Release, State
from trainers import folders

_REMEMBERED: Final = 20
"""Versions that a record names as having served before: enough for any rollback, and few bytes."""


def succeeding(release: Release, serving: Release | None) -> Release:
    """Return a release as the successor of the serving one: it remembers what served before it."""
    if serving is None:
        return release
    before = [v for v in (*serving.served_before, serving.version) if v != release.version]
    return msgspec.structs.replace(release, served_before=tuple(before[-_REMEMBERED:]))


def check_still_wanted(candidate: Release, serving: Release | None, judged_by: int | None = None) -> None:
    """Let no candidate be released over what people promoted or rolled back to while it was in the making.

    It proved itself against another model: its parent or, where an earlier version is brought back, the one
    that it was `judged_by`. After a restart the serving one may be the candidate itself.

    Raises:
        Fatal: another model serves than the candidate was judged by.
    """
    if candidate.state is State.RELEASED and serving is not None:
        judge = candidate.parent if judged_by is None else judged_by
        if serving.version in (judge, candidate.version):
            return
        raise Fatal(f"version {serving.version} serves meanwhile; the candidate was judged by {judge}")


def check_new(releases: Path, candidate: Release, rolled_back: Mapping[str, Collection[int]]) -> None:
    """Let no candidate be released that is, graph by graph, what was rolled back already.

    Raises:
        Fatal: it is the same model under another number, or that version itself.
    """
    if candidate.state is not State.RELEASED:
        return
    mine = _graphs(releases, candidate.model, candidate.version)
    there = set(folders.versions(releases, candidate.model))
    for version in rolled_back.get(candidate.model, ()):
        if version in there and _graphs(releases, candidate.model, version) == mine:
            raise Fatal(f"it is the same model as version {version}, which was rolled back")


def _graphs(releases: Path, model: str, version: int) -> dict[str, str]:
    """Return the digest of each graph of a release."""
    manifest, _ = folders.read_manifest(releases, model, version)
    return {precision: manifest.files[name] for precision, name in manifest.variants.items()}


def promoted(releases: Path, model: str, version: int, serving: Release | None, reason: str) -> Release:
    """Return what announces a release folder that lies on disk as the one to serve.

    Raises:
        Fatal: the folder is broken: a file is missing or is not the one that was released.
    """
    folders.verify(releases, model, version)
    return succeeding(folders.record(releases, model, version, (reason,)), serving)


def rolled_back(releases: Path, serving: Release, to: int | None, reason: str) -> tuple[Release, Release]:
    """Return what announces the version to go back to, and what says that the serving one was rolled back.

    Without `to` it is the version that served last before this one and still has its folder, else the parent.

    Raises:
        Fatal: there is nothing to go back to, `to` serves already, or the folder to go back to is broken.
    """
    model = serving.model
    target = _before(releases, serving) if to is None else to
    if target == serving.version:
        raise Fatal(
            f"{model} {target} serves already; `headrace models list {model}` shows what else there is"
        )
    folders.verify(releases, model, target)
    stack = serving.served_before
    earlier = stack[: stack.index(target)] if target in stack else stack
    back = msgspec.structs.replace(folders.record(releases, model, target, (reason,)), served_before=earlier)
    left = msgspec.structs.replace(serving, state=State.ROLLED_BACK, reasons=(reason,))
    return back, left


def announcement(release: Release) -> Outgoing:
    """Return the record for `models.releases`: a release's key is its model, so that serving follows it.

    What is said of a version that is not to serve, or not alone, has a key of its own, `model/version`.
    """
    serves = release.state is State.RELEASED and not release.staged
    key = release.model if serves else f"{release.model}/{release.version}"
    return Outgoing(topics.RELEASES.name, key.encode(), codec.encode(release))


def _before(releases: Path, serving: Release) -> int:
    there = set(folders.versions(releases, serving.model)) - {serving.version}
    for version in reversed(serving.served_before):
        if version in there:
            return version
    if serving.parent is not None and serving.parent in there and not serving.served_before:
        return serving.parent
    others = ", ".join(map(str, sorted(there)))
    hint = f"name another with --to: {others}" if others else "it is the only release there is"
    raise Fatal(
        f"there is nothing to roll back to: nothing served before {serving.model} {serving.version}; {hint}"
    )
