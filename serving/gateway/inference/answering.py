"""One model asked for rows: answers out, or which row it cannot answer. Blocks as long as the model does."""

import time

from infra.runtime import metrics
from serving.gateway.inference.tensors import Rows
from serving.gateway.problems import Refused
from serving.predictor import Answer, BadAnswer, SensorPredictor
from serving.slot import Served


def answer(served: Served, rows: Rows) -> list[Answer]:
    """Answer rows in order.

    Raises:
        Refused: 400, the model has no answer to a row, which the message names; 503, memory ran out.
    """
    began = time.perf_counter()
    try:
        answers = _predicted(served, rows)
    except BadAnswer as error:
        raise Refused(400, _named(served, rows, error)) from error
    except MemoryError as error:
        raise Refused(503, f"memory ran out while {served.release.model} answered") from error
    metrics.observe_inference(served.release.model, len(rows), time.perf_counter() - began)
    return answers


def _predicted(served: Served, rows: Rows) -> list[Answer]:
    predictor = served.predictor
    if isinstance(rows, list):
        return predictor.predict(rows)
    if not isinstance(predictor, SensorPredictor):
        raise TypeError(f"a model of {predictor.family} takes no readings")
    return predictor.predict_values(rows)


def _named(served: Served, rows: Rows, error: BadAnswer) -> str:
    """Say which row it was: the first that fails alone as well."""
    for index in range(len(rows)):
        try:
            _predicted(served, rows[index : index + 1])
        except BadAnswer as alone:
            return f"the model cannot answer row {index}: {alone}"
    return f"the model cannot answer these rows: {error}"
