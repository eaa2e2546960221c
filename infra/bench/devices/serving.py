"""A model's graphs on each provider: consumes a subject, produces speed and differences from the CPU.

Each session is opened as serving opens it. Answers are those of one row a run, and are compared with what the
CPU says in FP32. Rows of equal length are then run together, as `serving.batching` would, and compared with
what the same session says to each alone. The processor gets one thread a session, as in serving.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from infra.bench.devices.plan import DevicesPlan, Subject
from infra.bench.stack import Say
from serving.batching import INDEPENDENT_WITHIN, Policy, groups
from serving.engines import CUDA, Shapes, text_shapes
from serving.predictor import spread_tokens, token_feed
from serving.release import BadRelease
from serving.session import Feed, Providers, Session, reason_of
from trainers.model import probabilities

_INPUTS: Final = ("input_ids", "attention_mask")
_WARM: Final = 5
_FEWEST: Final = 20
_AGREES: Final = 0.98

Logits = npt.NDArray[np.float32]


class Timed(msgspec.Struct, frozen=True):
    """Runs of one batch size: how many, how long one takes, and rows a second."""

    runs: int
    p50_ms: float
    p99_ms: float
    rows_per_s: float


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What one precision is worth on one provider.

    `open_s` and `again_s` are the seconds to the first answer of a first and of a second session: a provider
    that builds an engine keeps it in between. `agreement` is the share of texts answered as the CPU does in
    FP32, `max_difference` the largest one between logits, `score_difference` between probabilities of
    the CPU's label, which golden answers are compared by. `together` is the largest difference between a
    row's logits alone and in a run of its equals, relative to the row's largest; `independent` says whether
    serving would join rows (decision 0005). `together_speedup` compares the rate of the largest batch with
    one row a run. `failed` says why there are no figures.
    """

    failed: str = ""
    open_s: float = 0.0
    again_s: float = 0.0
    agreement: float = 0.0
    max_difference: float = 0.0
    score_difference: float = 0.0
    together: float = 0.0
    independent: bool = False
    together_speedup: float = 0.0
    batches: dict[str, Timed] = {}


class Way(NamedTuple):
    """One way to run graphs: its name, the providers it may use, and whether FP32 is multiplied as such."""

    name: str
    found: Providers
    exact: bool = True


def ways(found: Providers) -> list[Way]:
    """Return the ways of this machine, the CPU first; CUDA once more in TF32, its own default."""
    told = []
    for at, provider in reversed(list(enumerate(found.usable))):
        only = Providers(found.usable[at:], {})  # the ones after it take what it leaves, as in serving
        told.append(Way(provider, only))
        if provider == CUDA:
            told.append(Way(f"{CUDA}, TF32", only, exact=False))
    return told


def worths(subject: Subject, found: Providers, plan: DevicesPlan, say: Say) -> dict[str, dict[str, Worth]]:
    """Return the figures by way and precision, the CPU's first: it is what others are compared with."""
    expected: Logits | None = None
    told: dict[str, dict[str, Worth]] = {}
    for way in ways(found):
        told[way.name] = {}
        for precision, graph in subject.graphs.items():
            if precision != "fp32" and not way.exact:
                continue
            try:
                worth, logits = _worth(graph, way, subject, plan, expected)
            except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors share no base
                worth, logits = Worth(failed=reason_of(error)), None
            if expected is None:
                expected = logits
            told[way.name][precision] = worth
            say(f"{way.name} {precision}: {_line(worth)}")
    return told


def _worth(
    graph: bytes, way: Way, subject: Subject, plan: DevicesPlan, expected: Logits | None
) -> tuple[Worth, Logits]:
    """Measure one graph; return its figures, and its logits of the texts (N, C)."""
    shapes = text_shapes(max(plan.batches), subject.manifest.max_tokens)
    session, open_s = _opened(graph, way, shapes, subject, plan.home)
    if session.provider != (first := way.found.usable[0]):
        reason = session.passed_over.get(first, "it took no part of the graph")
        raise BadRelease(f"passed over: {reason}")
    del session
    session, again_s = _opened(graph, way, shapes, subject, plan.home)
    alone = np.concatenate([session.run(token_feed([row])) for row in subject.ids])  # (N, C)
    compared = alone if expected is None else expected
    apart = _together(session, subject.ids, alone, max(plan.batches))
    timed = {str(size): _timed(session, _rows(subject, size, plan), plan.seconds) for size in plan.batches}
    least, most = (timed[str(size)].rows_per_s for size in (min(plan.batches), max(plan.batches)))
    worth = Worth(
        open_s=round(open_s, 3), again_s=round(again_s, 3),
        agreement=float((alone.argmax(1) == compared.argmax(1)).mean()),
        max_difference=float(np.abs(alone - compared).max()),
        score_difference=_apart(alone, compared),
        together=apart, independent=apart <= INDEPENDENT_WITHIN,
        together_speedup=round(most / least, 2), batches=timed,
    )  # fmt: skip
    return worth, alone


def _apart(logits: Logits, expected: Logits) -> float:
    """Return the largest difference of the probability of what is expected, of logits (N, C)."""
    rows, labels = np.arange(len(expected)), expected.argmax(1)
    found, wanted = probabilities(logits)[rows, labels], probabilities(expected)[rows, labels]
    return float(np.abs(found - wanted).max())


def _opened(
    graph: bytes, way: Way, shapes: dict[str, Shapes], subject: Subject, home: Path
) -> tuple[Session, float]:
    """Open a session and ask it once; return it and the seconds that took."""
    began = time.perf_counter()
    session = Session(
        graph, inputs=_INPUTS, outputs=("logits",), shapes=shapes,
        found=way.found, exact=way.exact, kept=home,
    )  # fmt: skip
    session.run(token_feed(subject.ids[:1]))
    return session, time.perf_counter() - began


def _together(session: Session, ids: Sequence[Sequence[int]], alone: Logits, most: int) -> float:
    """Return the largest difference of rows in the company of their equals, relative to the row's largest."""
    worst = 0.0
    for rows in groups(Policy.EQUAL_LENGTH, [len(row) for row in ids], most):
        if len(rows) > 1:
            joined, one = session.run(token_feed([ids[row] for row in rows])), alone[rows]
            allowed = np.maximum(1.0, np.abs(one).max(axis=1, keepdims=True))
            worst = max(worst, float((np.abs(joined - one) / allowed).max()))
    return worst


def _timed(session: Session, feed: Feed, seconds: float) -> Timed:
    """Run one batch over and over for so long, after a few runs that do not count."""
    for _ in range(_WARM):
        session.run(feed)
    took: list[float] = []
    began = now = time.perf_counter()
    while now - began < seconds or len(took) < _FEWEST:
        session.run(feed)
        before, now = now, time.perf_counter()
        took.append(now - before)
    p50, p99 = (round(1000 * float(np.percentile(took, share)), 4) for share in (50, 99))
    rows = len(feed[_INPUTS[0]]) * len(took)
    return Timed(len(took), p50, p99, round(rows / sum(took), 1))


def _rows(subject: Subject, size: int, plan: DevicesPlan) -> Feed:
    length = min(plan.tokens, subject.manifest.max_tokens)
    return token_feed(spread_tokens(size, length, subject.vocabulary))


def _line(worth: Worth) -> str:
    if worth.failed:
        return f"failed: {worth.failed}"
    rates = ", ".join(f"{size}: {one.rows_per_s:,.0f} rows/s" for size, one in worth.batches.items())
    return f"open {worth.open_s:.2f} s, again {worth.again_s:.2f} s; {rates}"


def right(told: Mapping[str, Mapping[str, Worth]]) -> bool:
    """Tell whether every graph ran and answers as the CPU does in FP32, but for one text in fifty."""
    return all(not one.failed and one.agreement >= _AGREES for way in told.values() for one in way.values())
