"""Which release folders may go: consumes folders and what is said of them, produces a plan."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from schemas.release import Manifest, Release
from trainers import folders


@dataclass(frozen=True)
class Plan:
    """Of one model: why each version is `kept`, and the bytes that each `doomed` one would free."""

    model: str
    kept: dict[int, str] = field(default_factory=dict)
    doomed: dict[int, int] = field(default_factory=dict)


def plan(  # noqa: PLR0913 - each is a reason of its own to keep a version
    releases: Path,
    model: str,
    *,
    serving: Release | None,
    swapped: Iterable[int],
    aliased: Mapping[str, int],
    keep: int,
    younger_than: timedelta,
    now: datetime,
    elsewhere: Mapping[int, Manifest] | None = None,
) -> Plan:
    """Decide which versions of a model may go, those included that lie in the release store alone.

    Kept are the champion, what a worker may serve (`swapped`), what an alias names, what served just before
    the champion, the newest `keep` others, the young, and the parent of each of these. Where nothing serves
    nothing goes: nobody knows yet what will.
    """
    here = {v: folders.read_manifest(releases, model, v)[0] for v in folders.versions(releases, model)}
    manifests = {**(elsewhere or {}), **here}
    there = sorted(manifests)
    kept: dict[int, str] = {}
    if serving is None:
        return Plan(model, dict.fromkeys(there, "nothing of this model serves yet"))
    reasons = [
        (serving.version, "champion"),
        *((version, "a worker may serve it") for version in swapped),
        *((version, f"alias {alias}") for alias, version in aliased.items()),
        *((version, "previous") for version in serving.served_before[-1:]),
    ]
    for version, reason in reasons:
        if version in manifests:
            kept.setdefault(version, reason)
    others = [version for version in reversed(there) if version != serving.version]
    for version in others[:keep]:
        kept.setdefault(version, f"among the newest {keep}")
    for version in others:
        if now - manifests[version].created_at < younger_than:
            kept.setdefault(version, "young")
    for version in sorted(kept):
        parent = manifests[version].parent
        if parent in manifests:
            kept.setdefault(parent, f"parent of {version}")
    doomed = {v: _bytes(releases / model / str(v)) for v in there if v not in kept}
    return Plan(model, dict(sorted(kept.items())), doomed)


def delete(releases: Path, model: str, version: int) -> None:
    """Delete a release folder; broken off, it leaves none of its name that looks whole."""
    folder = releases / model / str(version)
    if not folder.is_dir():
        return
    doomed = folder.with_name(f".pruned-{version}-{os.getpid()}")
    folder.rename(doomed)
    for leftover in folder.parent.glob(".pruned-*"):  # also of a deletion that was killed
        shutil.rmtree(leftover, ignore_errors=True)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
