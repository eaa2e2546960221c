from collections import Counter
from datetime import UTC, datetime

import pytest

from infra.demo.figures import Answer, Figures, Percentiles, compare, shortcomings
from infra.demo.ledger import Ledger, Sent
from infra.demo.moments import Moments
from infra.demo.series import by_class, per_second, rolling_accuracy, thinned
from schemas.prediction import Prediction
from schemas.record import Coordinates, Identity
from schemas.release import Release, State, Swap

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_BEGAN = _NOW.timestamp()
_DRIFT = _BEGAN + 100
PLACE = Coordinates("events.clean", 0, 1)


def _answer(identity: Identity, label: str, version: int, at: float) -> Answer:
    prediction = Prediction(
        stream="requests",
        source=identity.source,
        id=identity.id,
        event=PLACE,
        raw=PLACE,
        event_time=_NOW,
        label=label,
        score=0.9,
        model="requests",
        version=version,
        sha256="0" * 64,
        predicted_at=_NOW,
    )
    return Answer(prediction, at, 0, 1)


def _run(wrong_after: int = 1, *, acknowledgements: int = 1) -> Figures:
    """100 events before (2 wrong), 100 drifted (40 wrong), 100 after (`wrong_after` wrong)."""
    ledger, answers = Ledger(), {}
    for number in range(300):
        part = number // 100
        at = _BEGAN + number
        identity = Identity("shop", str(number))
        sent = Sent("requests", "norm", ("baseline", "drift", "after")[part], at, _NOW, acknowledgements)
        sent.label_sent_at = at + 3
        ledger.events[identity] = sent
        wrong = number % 100 < (2, 40, wrong_after)[part]
        answers[identity] = _answer(identity, "sqli" if wrong else "norm", 2 if part == 2 else 1, at + 0.1)
    found = Counter(ledger.events.keys())
    releases = [_release(1, _BEGAN - 60), _release(2, _DRIFT + 90)]
    swap = Swap(
        model="requests",
        stream="requests",
        version=2,
        sha256="2" * 64,
        worker="w",
        first_offsets={"events.clean:0": 200},
        swapped_at=_NOW,
    )
    return Figures(
        ledger=ledger,
        answers=answers,
        moments=Moments(_BEGAN, _DRIFT, _DRIFT + 5, _DRIFT + 90, _DRIFT + 91, _BEGAN + 310),
        warehouse=compare(ledger.events, found),
        predicted=compare(ledger.events, found),
        dead=Counter(empty=2),
        selectable_at={identity: sent.sent_at + 0.2 for identity, sent in ledger.events.items()},
        alerts=[{"id": "a"}],
        releases=releases,
        swaps=[swap],
        loop_s=310.0,
        peak_rss_bytes=1,
        stream="requests",
    )


def _release(version: int, created_at: float) -> Release:
    return Release(
        model="requests",
        stream="requests",
        version=version,
        uri="file:///r",
        sha256=str(version) * 64,
        state=State.RELEASED,
        created_at=datetime.fromtimestamp(created_at, UTC),
    )


def test_accuracy_by_its_definitions() -> None:
    """Before, drifted and after are counted over the events and versions that their definitions say."""
    shares = {name: share.value for name, share in _run().accuracies().items()}
    assert shares == {"before": 0.98, "drifted": 0.60, "after": 0.99}


def test_a_good_run_has_no_shortcomings() -> None:
    """Nothing lost, an alert, a release, a swap and accuracy back: the run showed all it must."""
    assert shortcomings(_run(), must_learn=True) == []


def test_accuracy_that_stays_low_is_a_shortcoming() -> None:
    """Far more than 2 points below before, or less than 10 over drifted, fails a run, and says so."""
    assert "below before" in shortcomings(_run(wrong_after=12), must_learn=True)[0]
    assert len(shortcomings(_run(wrong_after=35), must_learn=True)) == 2
    assert shortcomings(_run(wrong_after=35), must_learn=False) == []


def test_what_chance_explains_is_no_shortcoming() -> None:
    """Of 100 answers, three more wrong ones may be within 2 points."""
    assert shortcomings(_run(wrong_after=5), must_learn=True) == []


def test_lost_and_doubled_are_found_in_either_place() -> None:
    """An id missing in one of the two places is lost once; one that is there twice is doubled."""
    figures = _run()
    found = Counter(figures.ledger.events.keys())
    del found[Identity("shop", "7")]
    found[Identity("shop", "8")] = 2
    figures.warehouse = compare(figures.ledger.events, found)
    assert (figures.lost, figures.doubled) == (1, 1)
    told = shortcomings(figures, must_learn=False)
    assert len(told) == 2


def test_duplicates_dropped_are_acknowledged_copies_that_left_no_row() -> None:
    """With every event acknowledged three times and stored once, two of each were dropped."""
    assert _run(acknowledgements=3).duplicates_dropped == 600


def test_the_json_has_the_agreed_names() -> None:
    """The figures bear the names and shapes that readers of `--json` rely on."""
    told = _run().as_json()
    assert list(told)[:-1] == [
        *("sent", "accepted", "rejected", "duplicates_dropped", "warehouse_rows", "predictions"),
        *("lost", "doubled", "accuracy", "seconds", "latency_ms", "alerts", "releases", "peak_rss_bytes"),
    ]
    assert told["seconds"] == {"drift_to_alert": 5, "alert_to_release": 85, "release_to_swap": 1, "loop": 310}
    assert told["latency_ms"]["selectable"] == {"p50": 200, "p95": 200, "p99": 200}
    assert told["rejected"] == {"empty": 2}
    assert told["releases"][1] == {"version": 2, "sha256": "2" * 64, "first_offsets": {"events.clean:0": 200}}


def test_percentiles_of_nothing() -> None:
    """No values have no percentiles, a hundred have those of their ranks."""
    assert Percentiles.of([]) is None
    found = Percentiles.of(range(100))
    assert found is not None
    assert (found.p50, found.p95, found.p99, found.count) == (50, 95, 99, 100)


def test_rolling_accuracy_falls_and_returns() -> None:
    """The curve of the run is high, low, high, and as long as the run."""
    figures = _run()
    points = rolling_accuracy(figures.ledger, figures.answers, _BEGAN, window=40)
    at = dict(points)
    assert at[95.0] == 1.0
    assert min(share for _, share in points) == 0.0
    assert points[-1] == (299.0, 1.0)


def test_rates_and_classes() -> None:
    """Events per second count each event once; the table by class splits as the accuracies do."""
    figures = _run()
    rates = per_second((sent.sent_at for sent in figures.ledger.events.values()), _BEGAN)
    assert sum(rate * 2 for _, rate in rates) == pytest.approx(300)
    table = by_class(figures.ledger, figures.answers, {2})
    assert table["norm"] == {"before": (98, 100), "drifted": (60, 100), "after": (99, 100)}


def test_thinning_keeps_ends() -> None:
    """A thinned series keeps its first and last point and is about as long as asked."""
    points = [(float(n), float(n)) for n in range(10_000)]
    short = thinned(points, 100)
    assert (short[0], short[-1], len(short)) == (points[0], points[-1], 101)
