"""What a release and the version before it showed, each on its own: read from ClickHouse.

For where no event was answered by both: nothing is mirrored, or memory does not do for two versions.
"""

from datetime import datetime, timedelta
from typing import Final

from infra.runtime.warehouse import Warehouse
from schemas.errors import Reason
from schemas.release import Release
from trainers.rollout.trial import Sample

_ANSWERS: Final = """
SELECT countIf(l.truth != '' AND (isNull(p.tolerance) OR isFinite(toFloat64OrNull(l.truth)))) AS judged,
    countIf(l.truth != '' AND if(isNull(p.tolerance), l.truth = p.label,
        ifNull(abs(p.score - toFloat64OrNull(l.truth)) <= p.tolerance, false))) AS right,
    count() AS answered, countIf(NOT p.cached) AS timed,
    countIf(NOT p.cached AND p.inference_ms > {p99_ms:Float64}) AS late
FROM predictions AS p
LEFT JOIN (
    SELECT source, id, argMax(label, tuple(labelled_at, _offset)) AS truth FROM labels
    WHERE stream = {stream:String} GROUP BY source, id
) AS l ON p.source = l.source AND p.id = l.id
WHERE p.stream = {stream:String} AND p.model = {model:String} AND p.version = {version:Int32}
    AND p.variant = 'champion'
    AND p.predicted_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC')
    AND p.predicted_at < fromUnixTimestamp64Micro({ends:Int64}, 'UTC')"""

_FAILED: Final = """
SELECT count() AS failed FROM dead
WHERE stream = {stream:String} AND stage = 'serving' AND reason = {reason:String}
    AND rejected_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC')
    AND rejected_at < fromUnixTimestamp64Micro({ends:Int64}, 'UTC')"""


async def samples(
    warehouse: Warehouse, release: Release, p99_ms: float, now: datetime
) -> tuple[Sample, Sample]:
    """Return what the version before showed in the window before a trial, and the release in its own.

    Labels may come later; answers after the window say nothing of the release that the next drift would not.

    Raises:
        ValueError: the release is not on trial.
        Retryable: ClickHouse does not answer.
    """
    rollout = release.rollout
    if rollout is None:
        raise ValueError(f"{release.model} {release.version} is not on trial")
    begins = rollout.since - timedelta(seconds=rollout.window_s)
    before = await _sample(warehouse, release, rollout.against, p99_ms, begins, rollout.since)
    since = await _sample(warehouse, release, release.version, p99_ms, rollout.since, min(now, rollout.until))
    return before, since


async def _sample(
    warehouse: Warehouse, release: Release, version: int, p99_ms: float, begins: datetime, ends: datetime
) -> Sample:
    asked = {
        "stream": release.stream,
        "model": release.model,
        "version": version,
        "p99_ms": p99_ms,
        "reason": Reason.POISON.value,
        "begins": int(begins.timestamp() * 1e6),
        "ends": int(ends.timestamp() * 1e6),
    }
    answers = (await warehouse.query(_ANSWERS, asked))[0]
    failed = (await warehouse.query(_FAILED, asked))[0]
    return Sample(failed=int(failed["failed"]), **{name: int(count) for name, count in answers.items()})
