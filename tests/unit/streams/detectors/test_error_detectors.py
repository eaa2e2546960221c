"""The detectors of a rising error rate: they agree with river, are quiet when nothing rises, and restart."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.detectors.adwin import Adwin
from streams.detectors.ensemble import Ensemble
from streams.detectors.hddm_a import HddmA
from streams.detectors.hddm_w import HddmW
from streams.detectors.page_hinkley import PageHinkley
from streams.detectors.protocol import ErrorDetector

Make = Callable[[], ErrorDetector]
MAKERS: list[Make] = [Adwin, HddmA, HddmW, PageHinkley, Ensemble]


def bits(seed: int, *parts: tuple[int, float]) -> list[bool]:
    """Return error bits: for each part a count and a rate."""
    random = np.random.default_rng(seed)
    return [bool(bit) for count, rate in parts for bit in random.random(count) < rate]


def detections(detector: ErrorDetector, errors: list[bool]) -> list[int]:
    """Return the positions at which a detector fired."""
    found = []
    for position, error in enumerate(errors):
        detector.update(error)
        if detector.drift_detected:
            found.append(position)
    return found


@pytest.mark.parametrize("make", MAKERS)
def test_a_rise_is_found_soon(make: Make) -> None:
    """An error rate that jumps from 5 % to 40 % is found within 250 labels, and nothing before."""
    found = detections(make(), bits(1, (5000, 0.05), (2000, 0.4)))
    assert found
    assert 5000 <= found[0] < 5250


@pytest.mark.parametrize("make", MAKERS)
def test_a_fall_is_no_drift(make: Make) -> None:
    """An error rate that falls is good news, not a drift."""
    assert detections(make(), bits(2, (4000, 0.1), (4000, 0.01))) == []


def test_a_million_steady_labels_raise_at_most_one_alarm() -> None:
    """The ensemble keeps quiet on a steady stream of a million labels, at a rate where its members do not."""
    assert len(detections(Ensemble(), bits(3, (1_000_000, 0.3)))) <= 1


@pytest.mark.parametrize("make", MAKERS)
@given(seed=st.integers(0, 2**16), cut=st.integers(0, 1500))
@settings(max_examples=15, deadline=None)
def test_a_snapshot_changes_nothing(make: Make, seed: int, cut: int) -> None:
    """A detector that went through JSON at any moment finds the same as one that did not."""
    errors = bits(seed, (800, 0.1), (700, 0.6))
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
    ]
    errors = bits(4, (3000, 0.05), (3000, 0.2), (3000, 0.45), (3000, 0.8))
    for ours, theirs in pairs:
        expected = []
        for position, error in enumerate(errors):
            theirs.update(error)
            if theirs.drift_detected:
                expected.append(position)
        assert expected
        assert detections(ours, errors) == expected, type(ours).__name__
