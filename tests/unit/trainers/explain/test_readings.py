"""Shares of readings: a planted one comes first, equal ones share equally, missing and wild ones count."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import Learn
from trainers.dataset import Array
from trainers.explain.readings import shares
from trainers.finetune import tune
from trainers.perceptron import Perceptron, sensor_autoencoder, sensor_classifier

DEADLINE = time.monotonic() + 3600


@pytest.fixture(scope="module")
def planted() -> tuple[Perceptron, Array]:
    """A classifier of five readings of which the third alone says the class, and its training rows."""
    torch.set_num_threads(1)
    values = np.random.default_rng(1).normal(10, 3, size=(500, 5)).astype(np.float32)
    truth = (values[:, 2] > 10).astype(np.int64)
    torch.manual_seed(3)
    network = sensor_classifier(("low", "high"), values)
    tune(network, values, truth, Learn(epochs=20), deadline=DEADLINE)
    return network, values


def test_a_planted_reading_is_the_reason(planted):
    """It has most of the sum, in the direction of the answer; the sum is complete."""
    network, values = planted
    rows = np.array([[10, 10, 17, 10, 10], [10, 10, 3, 10, 10]], dtype=np.float32)
    found, outputs, baselines = shares(network, rows, values[:32], "high")
    assert found.argmax(1).tolist()[0] == 2 and found.argmin(1).tolist()[1] == 2
    assert (np.abs(found[:, 2]) > 0.8 * np.abs(found).sum(1)).all()
    assert np.allclose(found.sum(1), outputs - baselines, atol=1e-3)
    against, _, _ = shares(network, rows, values[:32], "low")
    assert np.allclose(against, -found, atol=1e-3), (
        "of two classes one's reasons are the other's, turned round"
    )


@given(st.floats(-50, 50), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_readings_that_play_the_same_part_share_equally(value, seed):
    """Two columns with the same weights, value and background have the same share, within rounding."""
    torch.manual_seed(seed)
    network = Perceptron("classifier", (4, 8, 3), ("a", "b", "c")).eval()
    with torch.no_grad():
        weight = next(iter(network.layers.parameters()))
        weight[:, 1] = weight[:, 0]
    background = np.random.default_rng(seed).normal(size=(6, 4)).astype(np.float32)
    background[:, 1] = background[:, 0]
    row = np.array([[value, value, 1.0, -2.0]], dtype=np.float32)
    found, _, _ = shares(network, row, background, "b")
    assert found[0, 0] == pytest.approx(found[0, 1], abs=1e-4)


def test_a_reading_that_is_far_out_raises_the_anomaly_score():
    """It is the first reason; a missing one is as good as the centre, and a huge one is held."""
    chance = np.random.default_rng(2)
    load = chance.normal(size=(400, 1))
    values = (50 + 10 * load + chance.normal(size=(400, 4))).astype(np.float32)
    network = sensor_autoencoder(values)
    tune(network, values, None, Learn(epochs=10), deadline=DEADLINE)
    rows = np.array([[50, 50, 120, np.nan], [50, 3e38, 50, 50]], dtype=np.float32)
    found, outputs, baselines = shares(network, rows, values[:32], "anomaly")
    assert found.argmax(1).tolist() == [2, 1] and (outputs > 1).all()
    assert np.isfinite(found).all() and np.allclose(found.sum(1), outputs - baselines, rtol=1e-4)
    centred = rows.copy()
    centred[0, 3] = float(network.centre[3])
    assert np.allclose(shares(network, centred, values[:32], "anomaly")[0], found)


def test_many_readings_are_sampled_and_still_complete(planted):
    """Forty readings have more orders than there is time for: a seed draws some, the same ones each time."""
    torch.manual_seed(5)
    network = Perceptron("classifier", (40, 16, 2), ("a", "b")).eval()
    values = np.random.default_rng(4).normal(size=(9, 40)).astype(np.float32)
    first, outputs, baselines = shares(network, values[:1], values[1:], "a", most=30, seed=1)
    again, _, _ = shares(network, values[:1], values[1:], "a", most=30, seed=1)
    assert np.array_equal(first, again)
    assert first.sum() == pytest.approx(float(outputs[0] - baselines[0]), abs=1e-3)
