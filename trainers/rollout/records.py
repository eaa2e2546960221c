"""What a trial's end is announced by: consumes releases and reasons, produces records for three topics.

worse      `models.releases`: the version before (full only), and the one left, `rolled_back`
not worse  `models.releases`: the next stage
refused    `models.releases`: what serving cannot ask is out of its stage, `rejected`
all        `models.loop`: the step; if worse, `alerts.drift` for the people on call
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from schemas import codec, topics
from schemas.config import Rollout as Terms
from schemas.drift import DriftAlert, Response, Severity, Signal
from schemas.errors import Fatal
from schemas.record import Outgoing
from schemas.release import Release, State, Swap, Transition
from schemas.rollout import By, Rollout, RolloutStage
from trainers.rollout.trial import Trial
from trainers.succession import announcement, rolled_back, succeeding

RUNBOOK: Final = "infra/runbooks/model-rollback.md"
BY_ITSELF: Final = "rolled back by itself"
REFUSED: Final = "serving refuses it"


class Ended(NamedTuple):
    """What is to be written at once; `serving` is what serves from then on, `left` what was taken back."""

    records: tuple[Outgoing, ...]
    serving: Release | None = None
    staged: Release | None = None
    left: Release | None = None


def begun(release: Release, serving: Release | None, terms: Terms, now: datetime) -> Release:
    """Return a release in its first stage, as the serving one's successor; the first of all is in none."""
    if serving is not None and release.version == serving.version:
        return serving  # announced before a crash; its trial goes on
    release = succeeding(release, serving)
    if serving is None:
        return release
    if terms.shadow:
        return _in_stage(release, RolloutStage.SHADOW, serving, terms, now)
    return _after_shadow(release, serving, terms, now)


def advanced(release: Release, serving: Release, terms: Terms, now: datetime) -> Ended:
    """Return what brings a release in shadow or canary one stage further."""
    was = release.rollout.stage if release.rollout else RolloutStage.SHADOW
    release = succeeding(release, serving)
    if was is RolloutStage.SHADOW:
        after = _after_shadow(release, serving, terms, now)
    else:
        after = _full(release, serving, terms, now)
    stage = after.rollout.stage if after.rollout else RolloutStage.FULL
    message = f"version {release.version} is not worse than {serving.version} in {was}"
    step = _step(after, stage.value, was.value, message, now)
    if after.staged:
        return Ended((announcement(after), step), staged=after)
    # Said of the version itself too, so that its stage is not found again once another version serves.
    done = Outgoing(topics.RELEASES.name, _own_key(after), codec.encode(_without(after)))
    return Ended((announcement(after), done, step), serving=after)


def taken_back(
    releases: Path,
    release: Release,
    reasons: Sequence[str],
    trial: Trial,
    now: datetime,
    address: Callable[[Release], Release] = lambda back: back,
) -> Ended:
    """Return what takes a release on trial back, for reasons; `address` says where what serves again lies.

    Raises:
        Fatal: what served before is broken or gone.
    """
    told = (BY_ITSELF, *reasons)
    alert = _alert(release, reasons, trial, now)
    was = "released" if release.rollout is None else release.rollout.stage.value
    step = _step(release, "rolled_back", was, "; ".join(told), now)
    if release.staged or release.rollout is None:
        left = msgspec.structs.replace(release, state=State.ROLLED_BACK, reasons=told)
        return Ended((announcement(left), _of(alert), step), left=left)
    back, left = rolled_back(releases, release, release.rollout.against, told[0])
    back, left = address(back), msgspec.structs.replace(left, reasons=told)
    return Ended((announcement(back), announcement(left), _of(alert), step), serving=back, left=left)


def dropped(release: Release, refusal: Swap, now: datetime) -> Ended:
    """Return what ends the stage of a release that a serving worker refuses, for the reason that it told."""
    told = (REFUSED, f"{refusal.message} ({refusal.worker})")
    left = msgspec.structs.replace(release, state=State.REJECTED, reasons=told)
    was = release.rollout.stage.value if release.rollout else "released"
    return Ended((announcement(left), _step(release, "rejected", was, ": ".join(told), now)), left=left)


def stuck(release: Release, reasons: Sequence[str], error: Fatal, trial: Trial, now: datetime) -> Ended:
    """Return what tells people of a release that is worse and cannot be taken back."""
    alert = _alert(release, reasons, trial, now)
    summary = f"{alert.summary}; it still serves: {error}"
    return Ended((_of(msgspec.structs.replace(alert, summary=summary)),))


def superseded(release: Release, by: int) -> Outgoing:
    """Return what says that a release in shadow or canary gave way to a newer one."""
    left = msgspec.structs.replace(release, state=State.REJECTED, reasons=(f"version {by} took its place",))
    return announcement(left)


def _after_shadow(release: Release, serving: Release, terms: Terms, now: datetime) -> Release:
    if terms.canary > 0.0:
        return _in_stage(release, RolloutStage.CANARY, serving, terms, now)
    return _full(release, serving, terms, now)


def _full(release: Release, serving: Release, terms: Terms, now: datetime) -> Release:
    if not terms.rollback:
        return _without(release)
    return _in_stage(release, RolloutStage.FULL, serving, terms, now)


def _in_stage(
    release: Release, stage: RolloutStage, serving: Release, terms: Terms, now: datetime
) -> Release:
    shares = {
        RolloutStage.SHADOW: 1.0,
        RolloutStage.CANARY: terms.canary,
        RolloutStage.FULL: terms.mirror,
    }
    rollout = Rollout(
        stage=stage,
        share=shares[stage],
        by=terms.by if stage is RolloutStage.CANARY else By.ID,
        against=serving.version,
        against_sha256=serving.sha256,
        since=now,
        window_s=terms.window,
    )
    return msgspec.structs.replace(release, rollout=rollout)


def _without(release: Release) -> Release:
    return msgspec.structs.replace(release, rollout=None)


def _own_key(release: Release) -> bytes:
    return f"{release.model}/{release.version}".encode()


def _step(release: Release, state: str, previous: str, message: str, now: datetime) -> Outgoing:
    transition = Transition(
        stream=release.stream,
        model=release.model,
        state=state,
        previous=previous,
        alert=release.alert,
        version=release.version,
        message=message,
        at=now,
    )
    return Outgoing(topics.LOOP.name, release.stream.encode(), codec.encode(transition))


def _of(alert: DriftAlert) -> Outgoing:
    return Outgoing(topics.ALERTS.name, alert.stream.encode(), codec.encode(alert))


def _alert(release: Release, reasons: Sequence[str], trial: Trial, now: datetime) -> DriftAlert:
    rollout = release.rollout
    since = rollout.since if rollout else now
    against = rollout.against if rollout else 0
    stage = rollout.stage if rollout else RolloutStage.FULL
    full = stage is RolloutStage.FULL
    errors = trial.errors
    after = f"version {against} serves again" if full else f"version {against} goes on serving"
    return DriftAlert(
        id=f"{release.model}-rollback-{release.version}-{int(since.timestamp())}",
        stream=release.stream,
        model=release.model,
        version=release.version,
        signal=Signal.ROLLBACK,
        detector="paired",
        statistic=errors.trial / errors.of if errors.of else 0.0,
        threshold=errors.other / errors.of if errors.of else 0.0,
        since=since,
        window_from=since,
        window_to=now,
        observations=max(errors.of, trial.failures.of),
        severity=Severity.CRITICAL if full else Severity.WARNING,
        response=Response.ALERT,
        summary=f"version {release.version} is worse than {against} ({'; '.join(reasons)}): {after}",
        evidence={
            "stage": stage.value,
            "against": against,
            "reasons": list(reasons),
            "trial": trial.evidence(),
        },
        runbook=RUNBOOK,
        raised_at=now,
    )
