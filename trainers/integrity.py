"""Is a candidate's folder what was trained? Consumes the folder on disk, produces what is wrong with it.

Everything is read back from the files, as serving will read them: digests, weights, graphs, labels, features,
tokenizer and the golden answers. Each check that fails gives a reason in words; none ends the others.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper
from tokenizers import Tokenizer

from schemas.release import Manifest, Task
from trainers.dataset import Array, matrix
from trainers.encoder import fingerprint, padded, session
from trainers.model import NETWORK, Model, answers
from trainers.perceptron import Perceptron
from trainers.row import Row

TOKENIZER: Final = "tokenizer.json"

_NEAR: Final = 1e-4
_FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}


def check(folder: Path, manifest: Manifest, candidate: Model, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what is wrong with a folder whose files `manifest` names; `rows` are a sample to run it on."""
    checks: list[tuple[str, Iterator[str]]] = [
        ("files", files(folder, manifest)),
        ("features", _features(manifest, candidate)),
        ("weights", _network(folder, manifest, candidate, rows)),
        ("tokenizer", _tokenizer(folder, manifest, candidate)),
        *((file, _graph(folder / file, manifest, rows)) for file in manifest.variants.values()),
        ("golden answers", _golden(folder, manifest)),
    ]
    found: list[str] = []
    for name, problems in checks:
        try:
            found += problems
        except Exception as error:  # noqa: BLE001 - whatever a broken file does to its reader is the reason
            said = " ".join(str(error).replace(f"{folder}/", "").split())
            found.append(f"{name}: cannot be read: {said[:200]}")
    return tuple(dict.fromkeys(found))


def files(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield every file that is missing, was not written by the trainer, or is not as it was written."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    # a manifest is there only where a release is examined once more: it cannot name its own digest
    for name in sorted(there - {*manifest.files, "manifest.json"}):
        yield f"{name}: nobody wrote this file"
    for name, expected in manifest.files.items():
        if name not in there:
            yield f"{name}: is missing"
            continue
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                yield f"{name}: its sha256 is not that of what was written"


def _features(manifest: Manifest, candidate: Model) -> Iterator[str]:
    """Compare the features' names, their order and their number with what the network takes."""
    if manifest.family == "text":
        return
    if manifest.features != candidate.features or len(set(manifest.features)) != len(manifest.features):
        yield f"features: {_named(manifest.features)} are not the network's {_named(candidate.features)}"
    taken, named = candidate.network.sizes[0], len(manifest.features)
    if taken != named:
        yield f"features: the network takes {taken}, the release names {named}"
    for part, values in manifest.normaliser.items():
        if tuple(values) != manifest.features:
            yield f"features: the normaliser's {part} is of {_named(tuple(values))}"


def _network(folder: Path, manifest: Manifest, candidate: Model, rows: Sequence[Row]) -> Iterator[str]:
    """Check the weights that the next training continues from: finite, and with the labels of the release."""
    network = Perceptron.load(folder / NETWORK)
    bad = [name for name, tensor in network.state_dict().items() if not bool(tensor.isfinite().all())]
    if bad:
        yield f"weights are not finite: {', '.join(bad)}"
    if network.labels != manifest.labels:
        yield f"labels: the release says {_named(manifest.labels)}, the weights {_named(network.labels)}"
    if network.kind == "classifier" and network.sizes[-1] != len(manifest.labels):
        yield f"labels: {len(manifest.labels)} for a head of {network.sizes[-1]} answers"
    if not np.isfinite(candidate.outputs(rows)).all():
        yield "answers are not finite"


def _tokenizer(folder: Path, manifest: Manifest, candidate: Model) -> Iterator[str]:
    """Compare the released tokenizer with the one that the encoder was exported with."""
    if candidate.encoder is None:
        return
    released = fingerprint(Tokenizer.from_file(str(folder / TOKENIZER)))
    if released != candidate.encoder.exported_with:
        yield f"{TOKENIZER}: is not the one that the encoder was exported with"
    if manifest.tokenizer != released:
        yield f"{TOKENIZER}: is not the one that the release names ({manifest.tokenizer[:12]})"


def _graph(path: Path, manifest: Manifest, rows: Sequence[Row]) -> Iterator[str]:
    """Check a graph's weights, its inputs' and output's names and shapes, and that its answers are finite."""
    bad = [
        weight.name
        for weight in onnx.load(path).graph.initializer
        if weight.data_type in _FLOATS and not np.isfinite(numpy_helper.to_array(weight)).all()
    ]
    if bad:
        yield f"{path.name}: weights are not finite: {', '.join(bad[:5])}"
    running = session(path)
    wrong = [*_inputs(running, manifest), *_outputs(running, manifest)]
    yield from (f"{path.name}: {problem}" for problem in wrong)
    if wrong or not rows:
        return
    if manifest.family == "sensor":
        given: list[Any] = [matrix(rows, manifest.features)]
    else:
        given = [row.text for row in rows]
    if not all(np.isfinite(out).all() for out in _run(path.parent, running, manifest, given)):
        yield f"{path.name}: answers are not finite"


def _inputs(running: ort.InferenceSession, manifest: Manifest) -> Iterator[str]:
    found = {given.name: given.shape for given in running.get_inputs()}
    wanted = {"values"} if manifest.family == "sensor" else {"input_ids", "attention_mask"}
    if set(found) != wanted:
        yield f"takes {_named(tuple(found))}, not {_named(tuple(sorted(wanted)))}"
    elif manifest.family == "sensor" and found["values"][1:] != [len(manifest.features)]:
        yield f"takes rows of shape {found['values'][1:]}, not of {len(manifest.features)} features"


def _outputs(running: ort.InferenceSession, manifest: Manifest) -> Iterator[str]:
    shape = running.get_outputs()[0].shape
    if manifest.task is not Task.CLASSIFICATION:
        if len(shape) != 1:
            yield f"gives shape {shape}, not (rows,)"
    elif len(shape) != 2 or shape[1] != len(manifest.labels):
        yield f"gives shape {shape}, not (rows, {len(manifest.labels)})"


def _golden(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Ask the graph that will be served for the answers that lie beside it, as serving will when it loads."""
    golden = msgspec.json.decode((folder / "golden.json").read_bytes())
    inputs = golden["inputs"]
    if manifest.family == "sensor":
        inputs = [np.array([row], dtype=np.float32) for row in inputs]  # a missing reading is null: NaN
    running = session(folder / manifest.variants[manifest.serve])
    outputs = np.concatenate(_run(folder, running, manifest, inputs))
    found = answers(outputs, manifest.labels).tolist()
    wrong = sum(one != other for one, other in zip(found, golden["labels"], strict=False))
    if manifest.task is Task.REGRESSION:
        expected = np.array(golden["scores"])
        wrong = int((np.abs(outputs - expected) > _NEAR * np.maximum(1.0, np.abs(expected))).sum())
    if wrong or len(found) != len(golden["labels"]):
        yield f"golden answers: the served graph answers {wrong} of {len(found)} otherwise"


def _run(
    folder: Path, running: ort.InferenceSession, manifest: Manifest, given: Sequence[Any]
) -> list[Array]:
    """Return the graph's answers to texts, through the folder's own tokenizer, or to matrices of readings."""
    if manifest.family == "sensor":
        return [running.run(None, {"values": values})[0] for values in given]
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(manifest.max_tokens)
    return [running.run(None, padded([tokenizer.encode(text).ids]))[0] for text in given]


def _named(names: Sequence[str]) -> str:
    return f"({', '.join(names[:8])}{', …' if len(names) > 8 else ''})"
