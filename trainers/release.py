"""Writes releases: consumes a judged candidate and its graphs, produces one immutable folder and its record.

The folder is complete and on disk before it has its name.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas import codec
from schemas.errors import Fatal
from schemas.release import Manifest, Release, Task
from trainers.dataset import Array, matrix
from trainers.encoder import padded, session
from trainers.folders import record
from trainers.model import BACKBONE, NETWORK, Model, answers, scores
from trainers.row import Row

_GOLDEN: Final = 12
_CLEAR: Final = 0.7
"""The least score of a golden text: a close call may fall otherwise on another processor."""


@contextmanager
def building(releases: Path, model: str) -> Iterator[Path]:
    """Give a folder beside the releases to build in; what is left of it afterwards is removed."""
    folder = releases / model / f".building-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "training").mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def complete(folder: Path, candidate: Model, rows: Sequence[Row], manifest: Manifest) -> Manifest:
    """Write what belongs beside a candidate's graphs; return the manifest with all files' digests.

    `manifest` comes without `files`; `rows` are held-out ones for the golden answers.
    """
    if candidate.encoder is not None:
        candidate.encoder.tokenizer.save(str(folder / "tokenizer.json"))
    candidate.network.save(folder / NETWORK)
    if candidate.backbone is not None:
        shutil.copy(candidate.backbone, folder / BACKBONE)
    golden = golden_answers(folder / manifest.variants[manifest.serve], candidate, rows)
    (folder / "golden.json").write_bytes(msgspec.json.encode(golden))
    return msgspec.structs.replace(manifest, files=_digests(folder), golden="golden.json")


def finish(folder: Path, releases: Path, manifest: Manifest) -> Release:
    """Give a completed folder that passed the gate its manifest and its version's name.

    `manifest` has the files that were examined; what was added since joins them.

    Raises:
        Fatal: an examined file is not the same any more.
    """
    files = _digests(folder)
    changed = [name for name, digest in manifest.files.items() if files.get(name) != digest]
    if changed:
        raise Fatal(f"{', '.join(changed)} changed between examination and release; train again")
    whole = msgspec.structs.replace(manifest, files=files)
    (folder / "manifest.json").write_bytes(msgspec.json.format(codec.encode(whole), indent=2))
    _synced_digest(folder / "manifest.json")
    target = releases / manifest.model / str(manifest.version)
    folder.rename(target)
    _sync_folder(target.parent)
    return record(releases, manifest.model, manifest.version)


def golden_answers(graph: Path, candidate: Model, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return a dozen inputs and the served graph's answers to them, one row a run.

    The inputs are spread over the classes and answered clearly, so that they hold on another processor.
    """
    running = session(graph)
    inputs: list[Any] = []
    outputs = []
    for row in rows:
        if candidate.encoder is not None:
            given: Any = row.text
            out = running.run(None, padded(candidate.encoder.tokens([row.text])))[0]
        else:
            values = matrix([row], candidate.features)
            given = [float(value) if np.isfinite(value) else None for value in values[0]]
            out = running.run(None, {"values": values})[0]
        if given not in inputs:
            inputs.append(given)
            outputs.append(out[0])
        if len(inputs) >= 8 * _GOLDEN:
            break
    stacked = np.stack(outputs)
    labels, sure = answers(stacked, candidate.labels), scores(stacked)
    clear = _clear(candidate.task, sure)
    chosen = _spread(labels.tolist(), [n for n in range(len(inputs)) if clear[n]] or list(range(len(inputs))))
    return {
        "inputs": [inputs[n] for n in chosen],
        "labels": [str(labels[n]) for n in chosen],
        "scores": [float(sure[n]) for n in chosen],
    }


def _clear(task: Task, sure: Array) -> NDArray[np.bool_]:
    """Return (N,) which answers are none that another processor might give otherwise."""
    if task is Task.REGRESSION:
        return np.isfinite(sure)
    return np.asarray(np.abs(sure - 1.0) > 0.2 if task is Task.ANOMALY else sure >= _CLEAR)


def _spread(labels: Sequence[str], usable: Sequence[int]) -> list[int]:
    """Take turns among the labels until a dozen rows are chosen."""
    by_label: dict[str, list[int]] = {}
    for number in usable:
        by_label.setdefault(labels[number], []).append(number)
    turns = [group[turn] for turn in range(_GOLDEN) for group in by_label.values() if turn < len(group)]
    return sorted(turns[:_GOLDEN])


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): _synced_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _synced_digest(path: Path) -> str:
    """Return a file's sha256, once the file is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
