"""The gate: consumes the evidence about a candidate, produces a verdict with its reasons.

A candidate replaces a champion only where a paired test says that it is better, or that it is not worse while
its gain is clear; it forgets no more than allowed, and the graph that would be served is near to torch and
fast enough. What the tests can tell, and what they cannot, is decision 0019.
"""

from dataclasses import dataclass, replace
from typing import Final

from schemas.config import Gate
from trainers.evaluate import Evidence
from trainers.paired import Paired, PairedLosses, bootstrap, mcnemar, tango

_PARITY: Final = 1e-4
_FORGETTING_DOUBT: Final = 0.2
"""The p-value from which lost old rows are chance: of a hundred rows two may turn, three may not."""


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate is released; `reasons` say why not, all of them, or what it showed."""

    released: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]

    @property
    def sound(self) -> bool:
        """Tell whether anything could be measured; what is broken has no figures."""
        return "accuracy" in self.metrics


def judge(evidence: Evidence, gate: Gate) -> Verdict:
    """Judge a candidate; before the first release, whether it is sound and beats a constant answer."""
    against = [*evidence.problems, *_graph(evidence, gate)]
    verdict = Verdict(True, (), dict(evidence.metrics))
    if evidence.losses is not None:
        reasons, tests = _losses(evidence.losses, gate)
    elif evidence.recent.champion is not None:
        reasons, tests = _recent(evidence.recent, gate)
    else:
        reasons, tests = _first(evidence), {}
    against += reasons
    verdict.metrics.update(tests)
    if evidence.recent.champion is not None:
        against += forgotten(evidence.old, "old rows", gate)
        if evidence.golden is not None:
            against += forgotten(evidence.golden, "golden rows", gate)
    if against:
        return replace(verdict, released=False, reasons=tuple(against))
    return replace(verdict, reasons=(_shown(evidence),))


def _shown(evidence: Evidence) -> str:
    """Say by what a candidate was released."""
    if evidence.losses is not None:
        return f"mean loss lower by {evidence.losses.gain:.1%} on {len(evidence.losses.candidate)} rows"
    pair = evidence.recent
    said = f"accuracy {pair.accuracy:.4f} on {len(pair.candidate)} rows"
    if pair.champion is None:
        return said
    return f"{said}: gain {pair.gain:+.4f}, {pair.better} rows better and {pair.worse} worse"


def _graph(evidence: Evidence, gate: Gate) -> list[str]:
    found = []
    if not evidence.parity <= _PARITY:
        found.append(f"ONNX and torch differ by {evidence.parity:.2g}, more than {_PARITY}")
    if not evidence.p99_ms <= gate.p99_ms:
        found.append(f"p99 of one answer is {evidence.p99_ms:.1f} ms, more than {gate.p99_ms:g}")
    if evidence.serve.startswith("int8") and not (evidence.agreement or 0.0) >= gate.min_agreement:
        share = evidence.agreement or 0.0
        found.append(f"INT8 agrees with FP32 on {share:.4f} of rows, less than {gate.min_agreement}")
    return found


def _first(evidence: Evidence) -> list[str]:
    right, constant = evidence.recent.accuracy, evidence.majority
    if right > constant:
        return []
    return [f"accuracy {right:.4f} does not beat one answer for all, {constant:.4f}"]


def _recent(pair: Paired, gate: Gate) -> tuple[list[str], dict[str, float]]:
    """Judge right and wrong answers to recent rows: better by the exact test, or clearly not worse."""
    rows, gain = len(pair.candidate), pair.gain
    margin = gate.clear_gain if gate.min_gain >= 0 else -gate.min_gain
    better, worse = mcnemar(pair), tango(pair, margin)
    tests = {"mcnemar_p": round(better, 8), "not_worse_p": round(worse, 8)}
    if gain < gate.min_gain:
        return [f"gain {gain:+.4f} on recent rows is less than {gate.min_gain:+g}"], tests
    counts = f"{pair.better} of {rows} rows better, {pair.worse} worse"
    if gate.min_gain < 0:
        if worse < gate.significance:
            return [], tests
        told = f"gain {gain:+.4f} on recent rows does not exclude a loss of {margin:g}"
        return [f"{told} ({counts}; p = {worse:.3f})"], tests
    clear = (
        rows >= gate.clear_rows and pair.better - pair.worse >= margin * rows and worse < gate.significance
    )
    if better < gate.significance or clear:
        return [], tests
    return [f"gain {gain:+.4f} on recent rows is not significant ({counts}; p = {better:.3f})"], tests


def _losses(pair: PairedLosses, gate: Gate) -> tuple[list[str], dict[str, float]]:
    """Judge losses on recent rows, where gain and margins are parts of the champion's mean loss."""
    rows, gain = len(pair.candidate), pair.gain
    margin = gate.clear_gain if gate.min_gain >= 0 else -gate.min_gain
    better, worse = bootstrap(pair), bootstrap(pair, margin)
    tests = {"bootstrap_p": round(better, 8), "not_worse_p": round(worse, 8)}
    if not gain >= gate.min_gain:
        return [f"mean loss changes by {-gain:+.2%}; a gain of {gate.min_gain:+.2%} is asked for"], tests
    clear = gate.min_gain < 0 or (rows >= gate.clear_rows and gain >= margin)
    if (gate.min_gain >= 0 and better < gate.significance) or (clear and worse < gate.significance):
        return [], tests
    return [f"mean loss lower by {gain:.2%} on {rows} rows is not significant (p = {better:.3f})"], tests


def forgotten(pair: Paired, what: str, gate: Gate) -> list[str]:
    """Return what is lost of old rows, as a reason: more than the gate allows, and not by chance."""
    if pair.champion is None or not len(pair.candidate):
        return []
    lost = -pair.gain
    if lost > gate.max_forgetting and mcnemar(pair.turned()) < _FORGETTING_DOUBT:
        counts = f"{pair.worse} of {len(pair.candidate)} lost, {pair.better} won"
        return [f"forgets {lost:.4f} on {what}, more than {gate.max_forgetting:g} ({counts})"]
    return []
