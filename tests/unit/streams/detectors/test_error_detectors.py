"""The detectors of a rising error rate: they agree with river, are quiet when nothing rises, and restart."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.detectors.adwin import Adwin
from streams.detectors.ddm import Ddm
from streams.detectors.eddm import Eddm
from streams.detectors.ensemble import Ensemble
from streams.detectors.hddm_a import HddmA
from streams.detectors.hddm_w import HddmW
from streams.detectors.kswin import Kswin
from streams.detectors.page_hinkley import PageHinkley
from streams.detectors.protocol import ErrorDetector
from streams.detectors.vote import Vote

Make = Callable[[], ErrorDetector]


def kswin() -> Kswin:
    """Return KSWIN as the drift worker makes it."""
    return Kswin(0.001, rises_only=True)


QUIET: list[Make] = [Adwin, HddmA, HddmW, PageHinkley, Ensemble, Vote]
MAKERS: list[Make] = [*QUIET, Ddm, Eddm, kswin]


def bits(seed: int, *parts: tuple[int, float]) -> list[bool]:
    """Return error bits: for each part a count and a rate."""
    random = np.random.default_rng(seed)
    return [bool(bit) for count, rate in parts for bit in random.random(count) < rate]


def detections(detector: Any, errors: list[bool]) -> list[int]:
    """Return the positions at which a detector fired, ours or river's."""
    found = []
    for position, error in enumerate(errors):
        detector.update(error)
        if detector.drift_detected:
            found.append(position)
    return found


@pytest.mark.parametrize("make", MAKERS)
def test_a_rise_is_found_soon(make: Make) -> None:
    """An error rate that jumps from 5 % to 60 % is found within 250 labels."""
    found = detections(make(), bits(1, (5000, 0.05), (2000, 0.6)))
    assert any(5000 <= at < 5250 for at in found)


@pytest.mark.parametrize("make", QUIET)
def test_before_a_rise_there_is_quiet(make: Make) -> None:
    """Five thousand labels at 5 % raise no alarm; DDM, EDDM and KSWIN cannot promise that."""
    assert detections(make(), bits(1, (5000, 0.05))) == []


@pytest.mark.parametrize("make", QUIET)
def test_a_fall_is_no_drift(make: Make) -> None:
    """An error rate that falls is good news, not a drift."""
    assert detections(make(), bits(2, (4000, 0.1), (4000, 0.01))) == []


@pytest.mark.parametrize("make", MAKERS)
@given(seed=st.integers(0, 2**16), cut=st.integers(0, 1500))
@settings(max_examples=15, deadline=None)
def test_a_snapshot_changes_nothing(make: Make, seed: int, cut: int) -> None:
    """A detector that went through JSON at any moment finds the same as one that did not."""
    errors = bits(seed, (500, 0.1), (400, 0.6), (600, 0.95))
    expected = detections(make(), errors)
    first, second = make(), make()
    before = detections(first, errors[:cut])
    second.restore(json.loads(json.dumps(first.snapshot())))
    assert second.drift_detected == first.drift_detected
    assert before + [cut + position for position in detections(second, errors[cut:])] == expected


def test_they_agree_with_river() -> None:
    """On seeded streams with three rises, each detector fires at the same labels as river's."""
    from river import drift

    pairs: list[tuple[ErrorDetector, Any]] = [
        (Adwin(0.002), drift.ADWIN(delta=0.002)),
        (HddmA(0.001), drift.binary.HDDM_A(drift_confidence=0.001)),
        (HddmW(0.001), drift.binary.HDDM_W(drift_confidence=0.001)),
        (PageHinkley(), drift.PageHinkley(min_instances=100, delta=0.05, threshold=50.0, mode="up")),
        (Ddm(), drift.binary.DDM()),
        (Eddm(), drift.binary.EDDM()),
    ]
    errors = bits(4, (3000, 0.05), (3000, 0.2), (3000, 0.45), (3000, 0.8))
    for ours, theirs in pairs:
        expected = detections(theirs, errors)
        assert expected
        assert detections(ours, errors) == expected, type(ours).__name__


def test_kswin_agrees_with_river() -> None:
    """Given river's own samples, KSWIN fires at the same values, of bits and of scores that come in ties."""
    from river import drift

    random = Random(7)
    drawn = [random.sample(range(70), 30) for _ in range(1500)]
    scores = np.random.default_rng(5).normal(np.repeat([0.0, 1.5], 700)).round(1).tolist()
    for values in (bits(5, (700, 0.1), (700, 0.7)), scores):
        expected = detections(drift.KSWIN(alpha=0.005, seed=7), values)
        assert expected
        assert detections(Kswin(0.005, choose=drawn.__getitem__), values) == expected


@pytest.mark.parametrize(("shift", "rises"), [(2.0, True), (-2.0, False)])
def test_kswin_of_rises_knows_the_direction(shift: float, rises: bool) -> None:
    """Scores that go up are a rise, scores that go down are none."""
    detector = Kswin(1e-5, rises_only=True)
    scores = np.random.default_rng(6).normal(np.repeat([0.0, shift], 300)).tolist()
    assert bool(detections(detector, scores)) == rises
