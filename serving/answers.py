"""Answers to a batch's events by one loaded model: from the cache where it knows them, the rest by the model.

    texts ─▶ cache ─▶ unseen ones ─▶ model ─▶ cache        readings ─▶ model

A row that the model cannot answer twice has no answer; the others of its batch go on.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from infra.runtime import metrics
from infra.runtime.log import get_logger
from schemas.clean import Clean
from schemas.errors import Retryable
from serving.cache import Cache, look_up
from serving.predictor import Answer, Row
from serving.slot import Served, verify_alive

_log = get_logger(__name__)


class Judged(NamedTuple):
    """What came out for one event: an answer, or why there is none."""

    answer: Answer | None
    cached: bool
    inference_ms: float
    problem: str = ""


async def answer_all(cache: Cache, served: Served, events: Sequence[Clean]) -> list[Judged]:
    """Answer events of one model, in order; a copy of a text asks the model once.

    Raises:
        Retryable: the model no longer answers what it must.
    """
    if served.predictor.family != "text":
        return await asyncio.to_thread(judge, served, [event.values for event in events])
    texts = [event.text for event in events]
    wanted, known, unseen = await look_up(cache, served.release.sha256, texts)
    if not unseen:
        return [Judged(known[key], cached=True, inference_ms=0.0) for key in wanted]
    fresh = dict(zip(unseen, await asyncio.to_thread(judge, served, list(unseen.values())), strict=True))
    cache.put({key: one.answer for key, one in fresh.items() if one.answer is not None})
    answered: set[bytes] = set()
    judged = []
    for key in wanted:
        one = fresh.get(key) or Judged(known[key], cached=True, inference_ms=0.0)
        if key in answered:  # a copy of a text that this very batch asked the model for
            one = one._replace(cached=one.answer is not None, inference_ms=0.0)
        answered.add(key)
        judged.append(one)
    return judged


async def aside(cache: Cache, served: Served, events: Sequence[Clean]) -> list[Judged]:
    """Answer events by a model that may fail: whatever it does, it is a problem of its own answers alone."""
    try:
        return await answer_all(cache, served, events)
    except Retryable as error:
        _log.warning(
            "second.failed", model=served.release.model, version=served.release.version, error=str(error)
        )
        return [Judged(None, cached=False, inference_ms=0.0, problem=str(error)) for _ in events]


def judge(served: Served, rows: Sequence[Row]) -> list[Judged]:
    """Answer rows with a model, those that fail once more and alone. Blocks.

    Raises:
        Retryable: no row is to blame: memory ran out, or the model fails its golden inputs too.
    """
    began = time.perf_counter()
    try:
        answers = served.predictor.predict(rows)
    except MemoryError as error:
        raise Retryable(f"memory ran out while {served.release.model} answered") from error
    except Exception as error:  # noqa: BLE001 – whatever a row does to a model, it is that row's fate alone
        _log.warning("batch.failed", model=served.release.model, rows=len(rows), error=str(error))
        judged = [_alone(served, row) for row in rows]
        if any(one.answer is None for one in judged):
            verify_alive(served)
        return judged
    took_s = time.perf_counter() - began
    metrics.observe_inference(served.release.model, len(rows), took_s)
    each_ms = round(took_s * 1000 / len(rows), 3)
    return [Judged(answer, cached=False, inference_ms=each_ms) for answer in answers]


def _alone(served: Served, row: Row) -> Judged:
    began = time.perf_counter()
    try:
        answer = served.predictor.predict([row])[0]
    except MemoryError as error:
        raise Retryable(f"memory ran out while {served.release.model} answered") from error
    except Exception as error:  # noqa: BLE001 – the same: the reason goes with the event to `events.dead`
        return Judged(None, cached=False, inference_ms=0.0, problem=f"the model cannot answer it: {error}")
    return Judged(answer, cached=False, inference_ms=round((time.perf_counter() - began) * 1000, 3))
