"""The trainer's smaller parts: optimiser, cache, dataset, network, run records."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schemas.drift import DriftAlert, Response, Severity, Signal
from schemas.errors import Fatal
from tests.unit.trainers import samples
from trainers.dataset import from_memory, split
from trainers.embeddings import EmbeddingCache
from trainers.export import parity, sensor_graph, write
from trainers.finetune import class_weights
from trainers.model import folder_of
from trainers.perceptron import Perceptron, robust, sensor_autoencoder, text_head
from trainers.reservoir import fair_quota
from trainers.runs import Runs


def test_the_cache_survives_a_restart_and_drops_the_oldest(tmp_path: Path) -> None:
    """Vectors come back bit for bit; beyond the limit those used longest ago are gone."""
    path = tmp_path / "vectors.safetensors"
    vectors = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    cache = EmbeddingCache(path, limit=3)
    cache.put(["a", "b", "c", "d"], vectors)
    cache.get(["a"])
    cache.save()
    again = EmbeddingCache(path, limit=3)
    assert again.missing(["a", "b", "c", "d", "e", "e"]) == ["b", "e"]
    assert np.array_equal(again.get(["d", "a"]), vectors[[3, 0]])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(0, 1000))
def test_the_reservoir_is_fair_and_within_its_size(counts: list[int], size: int) -> None:
    """At most the quota of each class stays within the size, and no small class is cut for a large one."""
    quota = fair_quota(counts, size)
    taken = sum(min(count, quota) for count in counts)
    assert taken <= size
    assert taken == sum(counts) or taken > size - len(counts) or quota == 0


def test_a_label_of_two_rows_is_taken_for_a_mistake() -> None:
    """Rows of a class that hardly exists are left out; too few rows are an error that says how many."""
    rows = [*samples.requests(1, normal=50, sqli=50), *samples.requests(2, xss=2)]
    assert from_memory(rows).labels() == ("normal", "sqli")
    with pytest.raises(Fatal, match="recent rows are too few"):
        split(from_memory(rows).recent[:1])


def test_the_training_range_names_the_rows() -> None:
    """Rows, times, offsets per partition, and a digest that one changed label changes."""
    rows = samples.requests(1, normal=50, sqli=50)
    data = from_memory(rows)
    span = data.range()
    places = {(row.event.partition, row.event.offset) for row in data.training}
    for partition in (0, 1):
        offsets = [offset for at, offset in places if at == partition]
        assert span.offsets[f"events.raw:{partition}"] == (min(offsets), max(offsets))
    assert span.rows == len(data.training)
    flipped = [(event, "sqli" if number == 0 else label) for number, (event, label) in enumerate(rows)]
    flipped = [(e, "normal" if label == "sqli" else "sqli") for e, label in flipped]
    assert from_memory(flipped).range().dataset_sha256 != span.dataset_sha256
    assert from_memory(list(reversed(rows))).range().dataset_sha256 == span.dataset_sha256


def test_a_grown_head_answers_old_rows_as_before() -> None:
    """New classes get rows of their own; the logits of the old ones are untouched."""
    vectors = np.random.default_rng(2).normal(size=(20, 16)).astype(np.float32)
    head = text_head(16, ("a", "b"), vectors)
    before = head.answer(vectors)
    grown = head.clone().grow(("a", "b", "c"))
    after = grown.answer(vectors)
    assert grown.labels == ("a", "b", "c")
    assert np.allclose(after[:, :2], before, atol=1e-6)
    assert (after.argmax(1) == before.argmax(1)).mean() > 0.9


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    """Weights, statistics, labels and threshold; a foreign file is refused."""
    values = np.random.default_rng(3).normal(5, 2, size=(60, 4)).astype(np.float32)
    network = sensor_autoencoder(values)
    network.threshold.fill_(0.25)
    network.save(tmp_path / "network.safetensors")
    again = Perceptron.load(tmp_path / "network.safetensors")
    assert np.array_equal(again.answer(values), network.eval().answer(values))
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(Fatal, match="no network of this trainer"):
        Perceptron.load(tmp_path / "foreign.safetensors")


def test_graph_and_torch_agree_also_on_missing_and_wild_readings(tmp_path: Path) -> None:
    """NaN counts as the median and outliers are clipped, in both; the graph passes ONNX's own check."""
    values = np.random.default_rng(4).normal(size=(80, 5)).astype(np.float32) * [1, 10, 0.01, 1000, 1]
    values = values.astype(np.float32)
    network = sensor_autoencoder(values)
    values[0] = np.nan
    values[1] = 1e9
    variants = write(tmp_path, network, None)
    assert parity(tmp_path, variants, network, None, values)["fp32"] < 1e-4
    onnx.checker.check_model(sensor_graph(network), full_check=True)


def test_planted_nan_weights_show_in_parity(tmp_path: Path) -> None:
    """A network with a NaN weight has no finite difference to its graph."""
    values = np.ones((4, 3), dtype=np.float32)
    network = sensor_autoencoder(np.random.default_rng(5).normal(size=(30, 3)).astype(np.float32))
    with torch.no_grad():
        next(iter(network.layers.parameters()))[0, 0] = float("nan")
    variants = write(tmp_path, network, None)
    assert parity(tmp_path, variants, network, None, values)["fp32"] == float("inf")


def test_robust_statistics_ignore_outliers_missing_and_constant_columns() -> None:
    """Median and MAD; a constant column has scale 1, so that nothing is divided by zero."""
    values = np.random.default_rng(6).normal(10, 2, size=(1000, 3)).astype(np.float32)
    values[:20, 0] = 1e6
    values[:500, 1] = np.nan
    values[:, 2] = 7
    centre, scale = robust(values)
    assert centre == pytest.approx([10, 10, 7], abs=0.4)
    assert scale == pytest.approx([2, 2, 1], abs=0.4)


def test_rare_classes_weigh_more() -> None:
    """A class nine times as rare weighs three times as much."""
    weights = class_weights(torch.tensor([0] * 90 + [1] * 10), 2)
    assert float(weights[1] / weights[0]) == pytest.approx(3.0)


def test_only_file_addresses_are_opened() -> None:
    """A release elsewhere is refused by its address."""
    with pytest.raises(Fatal, match="file://"):
        folder_of("s3://bucket/requests/1")


def _alert(name: str) -> DriftAlert:
    return DriftAlert(
        id=name, stream="requests", model="requests", version=1, signal=Signal.ERROR, detector="adwin",
        statistic=0.3, threshold=0.1, since=samples.START, window_from=samples.START, window_to=samples.START,
        observations=100, severity=Severity.CRITICAL, response=Response.INCREMENT, summary="error rose",
        raised_at=samples.START,
    )  # fmt: skip


def test_runs_are_remembered_across_a_restart(tmp_path: Path) -> None:
    """An unfinished run comes back with its alert; handled alerts and the day's budget too."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    runs = Runs(tmp_path)
    for number, state in enumerate(["rejected", "released", "rejected", "rejected", "training"]):
        run = runs.begin("requests", _alert(f"a/{number}"), now + timedelta(hours=number - 30))
        run.state, run.trained_at = state, run.started_at
        runs.keep(run)
    runs.handle("a/0")
    again = Runs(tmp_path)
    unfinished = again.unfinished("requests")
    assert unfinished is not None
    assert unfinished.alert == _alert("a/4")
    assert again.unfinished("host") is None
    assert again.handled("a/0")
    assert not again.handled("a/4")
    assert again.failures("requests") == 2
    assert again.trainings(unfinished) == [now + timedelta(hours=number - 30) for number in range(4)]
