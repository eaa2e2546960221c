"""The gate: consumes the evidence about a candidate, produces a verdict with its reasons.

A candidate replaces a champion only where the paired test says that it is better (McNemar 1947, exact), it
forgets no more than allowed, and the graph that would be served is sound, near to torch and fast enough.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.config import Gate
from trainers.evaluate import Evidence, Paired

_PARITY: Final = 1e-4
_FORGETTING_DOUBT: Final = 0.2
"""The p-value from which lost old rows are chance: of a hundred rows two may turn, three may not."""


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate is released; `reasons` say why not, or what it showed."""

    released: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]


def mcnemar(pair: Paired) -> float:
    """Return the one-sided exact p-value of "the candidate is no better than the champion" on paired answers.

    Only rows on which exactly one of the two is right count; without any, 1.0.
    """
    if pair.champion is None:
        return 1.0
    better = int(np.sum(pair.candidate & ~pair.champion))
    worse = int(np.sum(~pair.candidate & pair.champion))
    differing = better + worse
    at_least = sum(math.comb(differing, wins) for wins in range(better, differing + 1))
    return float(at_least / 2**differing)


def judge(evidence: Evidence, gate: Gate) -> Verdict:
    """Judge a candidate; before the first release, whether it is sound and beats a constant answer.

    With `min_gain` of 0 or more the gain must be significant at `gate.significance`; a negative `min_gain`
    accepts a candidate that loses no more than that.
    """
    against = [*evidence.problems, *_graph(evidence, gate)]
    metrics = dict(evidence.metrics)
    if evidence.recent.champion is None:
        if not evidence.recent.accuracy > evidence.majority:
            against.append(
                f"accuracy {evidence.recent.accuracy:.4f} does not beat the majority, {evidence.majority:.4f}"
            )
    else:
        chance = mcnemar(evidence.recent)
        metrics["mcnemar_p"] = round(chance, 8)
        against += _recent(evidence.recent, gate, chance) + _old(evidence.old, gate)
    if against:
        return Verdict(False, tuple(against), metrics)
    return Verdict(
        True, (f"accuracy {evidence.recent.accuracy:.4f} on {len(evidence.recent.candidate)} rows",), metrics
    )


def _graph(evidence: Evidence, gate: Gate) -> list[str]:
    found = []
    if not evidence.parity <= _PARITY:
        found.append(f"ONNX and torch differ by {evidence.parity:.2g}, more than {_PARITY}")
    if not evidence.p99_ms <= gate.p99_ms:
        found.append(f"p99 of one answer is {evidence.p99_ms:.1f} ms, more than {gate.p99_ms:g}")
    if evidence.serve == "int8" and not (evidence.agreement or 0.0) >= gate.min_agreement:
        found.append(
            f"INT8 agrees with FP32 on {evidence.agreement:.4f} of rows, less than {gate.min_agreement}"
        )
    return found


def _recent(pair: Paired, gate: Gate, chance: float) -> list[str]:
    gain = pair.accuracy - pair.champion_accuracy
    if gain < gate.min_gain:
        return [f"gain {gain:+.4f} on recent rows is less than {gate.min_gain:+g}"]
    if gate.min_gain >= 0 and not chance < gate.significance:
        return [f"gain {gain:+.4f} on recent rows is not significant (p = {chance:.3f})"]
    return []


def _old(pair: Paired, gate: Gate) -> list[str]:
    if pair.champion is None or not len(pair.candidate):
        return []
    forgotten = pair.champion_accuracy - pair.accuracy
    turned = Paired(pair.champion, pair.candidate)  # is the champion the better one?
    if forgotten > gate.max_forgetting and mcnemar(turned) < _FORGETTING_DOUBT:
        return [f"forgets {forgotten:.4f} on old rows, more than {gate.max_forgetting:g}"]
    return []
