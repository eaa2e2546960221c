"""Each flaw of a candidate's folder is told in words, and all of them are told."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from schemas.config import Learn, Stream
from schemas.errors import Fatal
from schemas.release import Manifest
from tests.unit.trainers import samples
from trainers import export, integrity, release
from trainers.dataset import Dataset, from_memory, matrix
from trainers.finetune import tune
from trainers.manifest import Asked, draft
from trainers.model import NETWORK, Model
from trainers.outcome import Job
from trainers.perceptron import sensor_classifier

FEATURES = ("cpu", "fan_rpm", "memory_mb", "temperature")
DATA: Dataset = from_memory(samples.readings(1, 300))


@pytest.fixture(scope="module")
def candidate() -> Model:
    """A classifier of the machine's two states."""
    torch.set_num_threads(1)
    values = matrix(DATA.training, FEATURES)
    torch.manual_seed(1)
    network = sensor_classifier(("busy", "idle"), values)
    truth = np.array([int(row.label == "idle") for row in DATA.training], dtype=np.int64)
    tune(network, values, truth, Learn(epochs=5), deadline=float("inf"))
    stream = Stream.model_validate({"kind": "sensor", "model": {}})
    assert stream.model is not None
    return Model(stream.model.task, network, features=FEATURES)


@pytest.fixture(scope="module")
def written(candidate: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Its complete folder."""
    home = tmp_path_factory.mktemp("home")
    config = Stream.model_validate({"kind": "sensor", "model": {}}).model_dump_json()
    job = Job(home=str(home), stream="host", config=config, run=str(home))
    folder = home / "folder"
    (folder / "training").mkdir(parents=True)
    variants = export.write(folder, candidate.network, None)
    manifest = draft(Asked.by(job), candidate, DATA, variants, 1)
    return folder, release.complete(folder, candidate, DATA.recent_held_out, manifest)


@pytest.fixture
def folder(written: tuple[Path, Manifest], tmp_path: Path) -> Path:
    """A copy of the folder to spoil."""
    return Path(shutil.copytree(written[0], tmp_path / "copy"))


def _check(folder: Path, manifest: Manifest, candidate: Model) -> tuple[str, ...]:
    return integrity.check(folder, manifest, candidate, DATA.recent_held_out[:8])


def test_a_sound_folder_has_nothing_wrong(
    folder: Path, written: tuple[Path, Manifest], candidate: Model
) -> None:
    """As it was written."""
    assert _check(folder, written[1], candidate) == ()


def _rewritten(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / "model.fp32.onnx")
    change(model)
    onnx.save(model, folder / "model.fp32.onnx")


def _nan(model: onnx.ModelProto) -> None:
    weight = next(one for one in model.graph.initializer if one.name == "head.1.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def _renamed(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "x" if name == "values" else name
    model.graph.input[0].name = "x"


SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "golden.json").unlink(), "golden.json: is missing"),
    (lambda f: (f / "extra.bin").write_bytes(b"?"), "extra.bin: nobody wrote this file"),
    (lambda f: (f / NETWORK).write_bytes((f / NETWORK).read_bytes()[:-9]), f"{NETWORK}: its sha256 is not"),
    (lambda f: (f / NETWORK).write_bytes((f / NETWORK).read_bytes()[:-9]), "weights: cannot be read"),
    (lambda f: (f / "model.fp32.onnx").write_bytes(b"no"), "model.fp32.onnx: cannot be read"),
    (lambda f: _rewritten(f, _nan), "model.fp32.onnx: weights are not finite: head.1.weight"),
    (lambda f: _rewritten(f, _nan), "model.fp32.onnx: answers are not finite"),
    (lambda f: _rewritten(f, _renamed), "model.fp32.onnx: takes (x), not (values)"),
]


@pytest.mark.parametrize(("spoil", "reason"), SPOILT, ids=[reason for _, reason in SPOILT])
def test_a_spoilt_file_is_told(
    folder: Path, written: tuple[Path, Manifest], candidate: Model,
    spoil: Callable[[Path], object], reason: str,
) -> None:  # fmt: skip
    """Missing, foreign, cut, changed and unreadable files, and graphs that are not the network's."""
    spoil(folder)
    told = _check(folder, written[1], candidate)
    assert any(one.startswith(reason) for one in told), told
    assert not any(str(folder) in one for one in told)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ("idle", "busy")}, "labels: the release says (idle, busy), the weights (busy, idle)"),
        ({"labels": ("idle", "busy")}, "golden answers: the served graph answers"),
        ({"labels": ("busy", "idle", "off")}, "labels: 3 for a head of 2 answers"),
        ({"labels": ("busy", "idle", "off")}, "model.fp32.onnx: gives shape ['rows', 2], not (rows, 3)"),
        (
            {"features": FEATURES[::-1]},
            "features: (temperature, memory_mb, fan_rpm, cpu) are not the network's",
        ),
        ({"features": FEATURES[::-1]}, "features: the normaliser's median is of"),
        ({"features": FEATURES[:3]}, "features: the network takes 4, the release names 3"),
        ({"features": FEATURES[:3]}, "model.fp32.onnx: takes rows of shape [4], not of 3 features"),
    ],
)
def test_a_manifest_of_another_model_is_told(
    folder: Path, written: tuple[Path, Manifest], candidate: Model, change: dict[str, object], reason: str
) -> None:
    """Labels and features that are not those of the weights, in any order or number."""
    told = _check(folder, msgspec.structs.replace(written[1], **change), candidate)
    assert any(one.startswith(reason) for one in told), told


def test_what_changed_after_the_examination_is_not_released(
    folder: Path, written: tuple[Path, Manifest], tmp_path: Path
) -> None:
    """A file that is not the examined one any more stops the release; nothing gets the version's name."""
    (folder / "golden.json").write_bytes(b"{}")
    with pytest.raises(Fatal, match=r"golden\.json changed between examination and release"):
        release.finish(folder, tmp_path, written[1])
    assert not (tmp_path / "host").exists()
