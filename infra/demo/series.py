"""Series over time: consumes the ledger and the answers, produces the points of the report's plots."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from infra.demo.figures import Answer
from infra.demo.ledger import Ledger
from schemas.record import Identity

Points = list[tuple[float, float]]

WINDOW: Final = 150


def rolling_accuracy(
    ledger: Ledger, answers: Mapping[Identity, Answer], began: float, *, window: int = WINDOW
) -> Points:
    """Return (seconds since `began`, accuracy of the last `window` labelled events), a point per event."""
    judged = sorted(
        (sent.sent_at - began, answers[identity].prediction.label == sent.label)
        for identity, sent in ledger.events.items()
        if sent.label_sent_at is not None and identity in answers
    )
    points: Points = []
    right = 0
    for index, (at_s, correct) in enumerate(judged):
        right += correct
        if index >= window:
            right -= judged[index - window][1]
        if index >= window // 5:  # a share of a handful says nothing
            points.append((at_s, right / min(index + 1, window)))
    return points


def per_second(times: Iterable[float], began: float, *, bin_s: float = 2.0) -> Points:
    """Return (middle of a bin in seconds since `began`, events per second in it)."""
    counts: dict[int, int] = defaultdict(int)
    for at in times:
        counts[int((at - began) // bin_s)] += 1
    if not counts:
        return []
    return [((index + 0.5) * bin_s, counts[index] / bin_s) for index in range(min(counts), max(counts) + 1)]


def by_class(
    ledger: Ledger, answers: Mapping[Identity, Answer], learnt: set[int]
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return per class the (right, total) before the drift, drifted and after learning."""
    table: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for identity, sent in ledger.events.items():
        answer = answers.get(identity)
        if answer is None or sent.label_sent_at is None:
            continue
        is_new = answer.prediction.version in learnt
        part = "before" if sent.phase == "baseline" else "after" if is_new else "drifted"
        right, total = table[sent.label].get(part, (0, 0))
        table[sent.label][part] = (right + (answer.prediction.label == sent.label), total + 1)
    return dict(table)


def thinned(points: Points, limit: int = 600) -> Points:
    """Return at most about `limit` of the points, evenly chosen, the last included."""
    if len(points) <= limit:
        return points
    step = len(points) / limit
    return [points[int(i * step)] for i in range(limit)] + [points[-1]]
