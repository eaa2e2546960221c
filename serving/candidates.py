"""What may serve after a start or beside a trial: consumes announcements, produces releases in order."""

from collections.abc import Sequence

from schemas.release import Release, State, Swap, on_trial


def candidates(releases: Sequence[Release], last: Swap | None) -> list[Release]:
    """Order what may serve after a start: newest announcement first, last served version at the end.

    The topic is compacted, so what served before may be gone from it; its folder lies beside the newest's.
    """
    ordered = list({release.sha256: release for release in reversed(releases)}.values())
    if last is not None and all(release.sha256 != last.sha256 for release in ordered):
        ordered.append(folder_beside(ordered[0], last.version, last.sha256))
    return ordered


def folder_beside(release: Release, version: int, sha256: str) -> Release:
    """Return another version of a model, whose folder lies beside the release's."""
    parent, _, _ = release.uri.rpartition("/")
    return Release(
        model=release.model,
        stream=release.stream,
        version=version,
        uri=f"{parent}/{version}",
        sha256=sha256,
        state=State.RELEASED,
        created_at=release.created_at,
    )


def still_compared(trial: Release, serving: Release | None) -> bool:
    """Tell whether a trial goes on while `serving` serves: as its other side, or as the release on trial."""
    if serving is None:
        return False
    return on_trial(serving, trial) is trial if trial.staged else serving.sha256 == trial.sha256
