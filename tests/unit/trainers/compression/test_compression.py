"""Compression of a tiny release: what each variant promises, the choice among them, and the gate."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from schemas.config import Gate, Stream
from schemas.release import Release
from serving.slot import Limits, load
from tests.unit.trainers import tiny
from trainers import folders
from trainers.backbone import Backbone
from trainers.bootstrap import train_first
from trainers.compression import static
from trainers.compression.distil import student
from trainers.compression.measure import Worth
from trainers.compression.prune import prune_structure, prune_weights
from trainers.compression.run import Compressed, best, compress, write_release
from trainers.compression.variants import Wishes
from trainers.encoder import padded, session
from trainers.model import folder_of

GATE = Gate(p99_ms=500, clear_gain=0.2, min_agreement=0.9)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two small layers."""
    torch.set_num_threads(1)
    return tiny.build(tmp_path_factory.mktemp("base"), "bert")


@pytest.fixture(scope="module")
def first(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release that tells persons, places and things apart."""
    stream = Stream.model_validate(
        {"kind": "log", "model": {"base": str(base), "learn": {"min_labels": 50}}, "gate": {"p99_ms": 500}}
    )
    return train_first(tmp_path_factory.mktemp("home"), "logs", stream, tiny.lines(5, 400))


@pytest.fixture(scope="module")
def done(first: Release, tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    """All variants of it."""
    folder = folder_of(first.uri)
    wishes = Wishes(student_layers=1, prune=0.5, epochs=2)
    scratch = tmp_path_factory.mktemp("scratch")
    return compress(folder, folder.parents[2], scratch, wishes, GATE, lambda _step: None)


def test_every_variant_is_made_and_measured(done: Compressed) -> None:
    """FP32 first, and each of the others with its size, times and quality; FP32 agrees with itself."""
    names = ["fp32", "int8", "int8-static", "fp16", "pruned-weights"]
    names += [f"{net}-{kind}" for net in ("pruned", "student-1") for kind in ("fp32", "int8", "int8-static")]
    assert list(done.worth) == names
    assert (done.worth["fp32"].agreement, done.worth["fp32"].max_difference) == (1.0, 0.0)
    assert all(each.p50_ms <= each.p95_ms <= each.p99_ms for each in done.worth.values())
    assert done.worth["int8-static"].bytes < 0.7 * done.worth["fp32"].bytes
    assert done.worth["fp16"].bytes < 0.9 * done.worth["fp32"].bytes
    assert done.worth["student-1-fp32"].bytes < done.worth["fp32"].bytes
    assert done.worth["int8-static"].agreement >= 0.9
    assert done.worth["fp16"].agreement >= 0.99


def test_a_static_answer_does_not_depend_on_batch_mates(done: Compressed) -> None:
    """Alone, in a batch of its length and padded to another's, a row's logits are the same."""
    variant = done.variants["int8-static"]
    running = session(variant.graph.path)
    ids = variant.graph.encoder.tokens([row.text for row in done.source.data.test[:12]])
    ids[0] = ids[0] + ids[1][1:]  # one that is longer: all the others are padded
    alone = np.concatenate([running.run(None, padded([row]))[0] for row in ids])
    assert np.abs(running.run(None, padded(ids))[0] - alone).max() < 1e-4
    same = [row for row in ids if len(row) == len(ids[1])]
    together = running.run(None, padded(same))[0]
    assert np.abs(together - np.concatenate([running.run(None, padded([r]))[0] for r in same])).max() < 1e-5


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_calibration_works_and_leaves_nothing_behind(
    done: Compressed, method: static.Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of unequal lengths calibrate by every method; the working folder has the graph alone."""
    monkeypatch.chdir(tmp_path)
    encoder = done.source.encoder
    ids = encoder.tokens([row.text for row in done.source.data.training[:20]])
    static.quantise(encoder.graph("fp32"), tmp_path / "small.onnx", ids, method=method)
    assert os.listdir(tmp_path) == ["small.onnx"]  # noqa: PTH208 - names are what is compared
    vectors = session(tmp_path / "small.onnx").run(None, padded(ids))[0]
    full = session(encoder.graph("fp32")).run(None, padded(ids))[0]
    assert np.abs(vectors - full).max() < 0.25 * np.abs(full).max()


def test_zeroed_weights_are_the_smallest(base: Path) -> None:
    """Half of the weights are zero, and none that is left is smaller than one that went."""
    before, after = Backbone.load(base), Backbone.load(base)
    assert prune_weights(after, 0.5) == pytest.approx(0.5, abs=1e-3)
    name = "encoder.layer.0.attention.self.query.weight"
    old, new = before.model.state_dict()[name], after.model.state_dict()[name]
    gone = (new == 0) & (old != 0)
    assert torch.equal(new[~gone], old[~gone])
    assert old[gone].abs().max() <= new[~gone].abs().min()


def test_pruned_and_distilled_weights_can_be_loaded_again(base: Path, tmp_path: Path) -> None:
    """A base's network takes the shape of narrower or fewer layers that were saved, and answers so."""
    teacher = Backbone.load(base)
    ids = torch.randint(5, 60, (3, 7))
    pruned, small = Backbone.load(base), student(teacher, 1)
    assert prune_structure(pruned, 0.5) == {"heads": 2, "neurons": 64}
    for number, network in enumerate((pruned, small)):
        network.save(tmp_path / f"{number}.safetensors")
        again = Backbone.load(base, tmp_path / f"{number}.safetensors")
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            assert torch.allclose(again(ids, mask), network.eval()(ids, mask), atol=1e-6)


def test_the_best_is_the_fastest_that_is_good_enough() -> None:
    """What disagrees, what costs more than .4 points or a rare class, and what is for GPUs is passed over."""

    def figures(p50_ms: float, accuracy: float, agreement: float, f1: float = 0.9) -> Worth:
        return Worth(
            bytes=1, p50_ms=p50_ms, p95_ms=9, p99_ms=9, rows_per_s=1, accuracy=accuracy, f1_macro=f1,
            agreement=agreement, max_difference=0, alone_and_together=0,
        )  # fmt: skip

    found = {
        "fp32": figures(5, 0.950, 1.0),
        "int8": figures(2, 0.946, 0.98),
        "int8-static": figures(1.9, 0.945, 0.99),
        "student-3-int8": figures(1, 0.950, 0.96),
        "pruned-int8": figures(0.9, 0.950, 0.99, f1=0.8),
        "fp16": figures(0.5, 0.950, 1.0),
    }
    assert best(found, Gate(min_agreement=0.97)) == "int8"
    assert best({"fp32": found["fp32"], "fp16": found["fp16"]}, Gate()) == "fp32"


def test_a_variant_that_passes_the_gate_is_the_next_version_and_serves(
    done: Compressed, first: Release
) -> None:
    """The static graph goes through the gate, lies in a folder of its own, and serving opens it."""
    from concurrent.futures import ThreadPoolExecutor

    home = folder_of(first.uri).parents[2]
    made, verdict = write_release(done, "int8-static", home, GATE)
    assert made is not None, verdict.reasons
    assert (made.version, made.parent) == (2, 1)
    manifest, _ = folders.read_manifest(home / "releases", "logs", 2)
    assert manifest.serve == "int8-static"
    folders.verify(home / "releases", "logs", 2)
    with ThreadPoolExecutor(1) as pool:
        served = load(made, pool, Limits(home / "releases"))
    served.check()


def test_a_worse_variant_is_rejected_with_its_reason(done: Compressed, first: Release) -> None:
    """A gate that allows no loss on these few rows says so, and nothing is written."""
    home = folder_of(first.uri).parents[2]
    strict = GATE.model_copy(update={"clear_gain": 0.001})
    made, verdict = write_release(done, "int8-static", home, strict)
    assert made is None
    assert "does not exclude a loss" in verdict.reasons[0]


def test_figures_are_plain_json(done: Compressed) -> None:
    """What the command prints can be read back."""
    told = msgspec.json.encode(done.worth)
    assert msgspec.json.decode(told, type=dict[str, Worth]) == done.worth
