"""One model asked for rows: answers out, or which row it cannot answer. Blocks; runs in a thread."""

import time
from collections.abc import Sequence

from infra.runtime import metrics
from serving.gateway.problems import Refused
from serving.predictor import Answer, BadAnswer, Row
from serving.slot import Served


def answer(served: Served, rows: Sequence[Row]) -> list[Answer]:
    """Answer rows in order.

    Raises:
        Refused: 400, the model has no answer to a row, which the message names; 503, memory ran out.
    """
    began = time.perf_counter()
    try:
        answers = served.predictor.predict(rows)
    except BadAnswer as error:
        raise Refused(400, _named(served, rows, error)) from error
    except MemoryError as error:
        raise Refused(503, f"memory ran out while {served.release.model} answered") from error
    metrics.observe_inference(served.release.model, len(rows), time.perf_counter() - began)
    return answers


def _named(served: Served, rows: Sequence[Row], error: BadAnswer) -> str:
    """Say which row it was: the first that fails alone as well."""
    for index, row in enumerate(rows):
        try:
            served.predictor.predict([row])
        except BadAnswer as alone:
            return f"the model cannot answer row {index}: {alone}"
    return f"the model cannot answer these rows: {error}"
