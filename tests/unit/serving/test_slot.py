"""Slots: a candidate serves only after it has shown what it is; the champion never notices a bad one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from schemas import codec
from schemas.release import Release, Task
from serving.release import BadRelease
from serving.slot import Limits, Slot
from tests.unit.serving.releases import Network, lay_out, reseal, sensor


def classes(root: Path, version: int) -> Release:
    """A sound sensor classifier."""
    return lay_out(root, sensor(version, Task.CLASSIFICATION), model="host", version=version)


def with_nan_weights(root: Path) -> Release:
    """Every weight is a NaN."""
    graph = onnx.load_from_string(sensor(3, Task.CLASSIFICATION).graphs["fp32"])
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.dtype == np.float32:
            values[...] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return reseal(classes(root, 3), "model.fp32.onnx", graph.SerializeToString())


def with_a_label_too_many(root: Path) -> Release:
    """The manifest promises a class that the graph does not have."""
    return lay_out(root, sensor(3, Task.CLASSIFICATION), model="host", version=3, labels=("a", "b", "c", "d"))


def with_other_weights(root: Path) -> Release:
    """A graph that is not the one the golden answers came from."""
    return reseal(classes(root, 3), "model.fp32.onnx", sensor(4, Task.CLASSIFICATION).graphs["fp32"])


def with_an_empty_graph(root: Path) -> Release:
    """A model file of no bytes."""
    return reseal(classes(root, 3), "model.fp32.onnx", b"")


def with_no_golden_inputs(root: Path) -> Release:
    """Nothing to check the model with."""
    return reseal(classes(root, 3), "golden.json", codec.encode({"inputs": [], "labels": [], "scores": []}))


def with_golden_texts(root: Path) -> Release:
    """Known inputs of another family."""
    known = {"inputs": ["a"], "labels": ["b"], "scores": [0.5]}
    return reseal(classes(root, 3), "golden.json", codec.encode(known))


async def test_a_candidate_takes_over_only_when_told(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Loading changes nothing; taking over changes the model at once, and once."""
    slot = Slot(pool)
    await slot.load(classes(tmp_path, 1))
    assert slot.current is None
    first = slot.take_over()
    assert slot.current is first
    await slot.load(classes(tmp_path, 2))
    assert slot.current is first
    second = slot.take_over()
    assert second is not None
    assert slot.current is second
    assert second.release.version == 2
    assert slot.take_over() is None


async def test_who_holds_the_old_model_can_finish_with_it(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """A swap does not take the session from under an answer in hand."""
    slot = Slot(pool)
    await slot.load(classes(tmp_path, 1))
    held = slot.take_over()
    assert held is not None
    before = held.predictor.predict(held.rows)
    await slot.load(classes(tmp_path, 2))
    slot.take_over()
    assert held.predictor.predict(held.rows) == before


@pytest.mark.parametrize(
    ("make_bad", "reason"),
    [
        (with_nan_weights, "finite"),
        (with_a_label_too_many, "shape"),
        (with_other_weights, "golden input 0 is answered"),
        (with_an_empty_graph, "does not load"),
        (with_no_golden_inputs, "at least one"),
        (with_golden_texts, "no input of this sensor model"),
    ],
)
async def test_a_bad_candidate_leaves_the_champion_alone(
    tmp_path: Path, pool: ThreadPoolExecutor, make_bad: Callable[[Path], Release], reason: str
) -> None:
    """Faults that right digests cannot show are found by running the model beside the champion."""
    slot = Slot(pool)
    await slot.load(classes(tmp_path, 1))
    champion = slot.take_over()
    with pytest.raises(BadRelease, match=reason):
        await slot.load(make_bad(tmp_path))
    assert slot.take_over() is None
    assert slot.current is champion


async def test_a_model_larger_than_memory_is_refused(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """The size on disk tells; a sparse file of a terabyte costs nothing to refuse."""
    release = classes(tmp_path, 1)
    with (tmp_path / "host" / "1" / "huge.onnx").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BadRelease, match="are available"):
        await Slot(pool).load(release)


def test_the_networks_of_two_seeds_differ() -> None:
    """What the swap tests tell versions apart by."""
    one, other = (sensor(seed, Task.CLASSIFICATION) for seed in (1, 2))
    assert isinstance(one, Network)
    assert one.graphs != other.graphs


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(store=Path("/nowhere")), "not among the releases"),
        (Limits(p99_ms=1e-6), "an answer takes .* ms, more than 1e-06"),
    ],
)
async def test_a_release_keeps_to_its_limits(
    tmp_path: Path, pool: ThreadPoolExecutor, limits: Limits, reason: str
) -> None:
    """A folder outside the store is not opened, and a model that is too slow does not serve."""
    slot = Slot(pool, limits)
    with pytest.raises(BadRelease, match=reason):
        await slot.load(classes(tmp_path, 1))
    assert slot.take_over() is None
    within = Slot(pool, Limits(tmp_path, 500.0))
    await within.load(classes(tmp_path, 2))
    assert within.take_over() is not None


async def test_a_link_does_not_lead_out_of_the_store(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """A folder of the store that is a link to another place is no folder of the store."""
    release = classes(tmp_path / "elsewhere", 1)
    store = tmp_path / "releases"
    (store / "host").mkdir(parents=True)
    (store / "host" / "1").symlink_to(tmp_path / "elsewhere" / "host" / "1")
    linked = msgspec.structs.replace(release, uri=(store / "host" / "1").as_uri())
    with pytest.raises(BadRelease, match="not among the releases"):
        await Slot(pool, Limits(store)).load(linked)
