"""Releases that must not serve: consumes a sound one, produces copies that are each bad in a known way.

Where a flaw is not about digests, the digests are right: only what serving does with the folder can tell.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from schemas import codec
from schemas.release import Manifest, Release

_HUGE_BYTES: Final = 1 << 40
_SIDE: Final = 1024
_ROUNDS: Final = 16
"""Products of two matrices of that side which a slow graph computes: some tenths of a second each answer."""

Flaw = Callable[[Path, Manifest], Manifest]


class Bad(NamedTuple):
    """A bad release, and what is wrong with it."""

    kind: str
    release: Release


def bad_releases(good: Release, folder: Path, elsewhere: Path, count: int) -> Iterator[Bad]:
    """Yield `count` bad copies of the release in `folder`, one at a time; each is removed after its use."""
    for number, (kind, flaw) in enumerate(islice(cycle(_flaws().items()), count)):
        version = 1000 + number
        root = elsewhere if kind == "outside the store" else folder.parent
        target = root / str(version)
        try:
            yield Bad(kind, _made(good, folder, target, version, kind, flaw))
        finally:
            shutil.rmtree(target, ignore_errors=True)


def _made(good: Release, folder: Path, target: Path, version: int, kind: str, flaw: Flaw) -> Release:
    shutil.copytree(
        folder, target, copy_function=os.link
    )  # what a flaw changes is written anew, not in place
    manifest = codec.decode((folder / "manifest.json").read_bytes(), Manifest)
    manifest = flaw(target, msgspec.structs.replace(manifest, version=version))
    payload = codec.encode(manifest)
    _write(target / "manifest.json", payload)
    if kind == "no folder":
        shutil.rmtree(target)
    digest = hashlib.sha256(b"" if kind == "another digest" else payload).hexdigest()
    return msgspec.structs.replace(good, version=version, uri=target.absolute().as_uri(), sha256=digest)


def _flaws() -> dict[str, Flaw]:
    return {
        "corrupt graph": _corrupt,
        "tampered graph": _tampered,
        "another shape": lambda _folder, manifest: msgspec.structs.replace(
            manifest, labels=(*manifest.labels, "one-too-many")
        ),
        "NaN weights": _not_numbers,
        "a file is missing": _missing,
        "too big for memory": _huge,
        "slower than the budget": _slow,
        "outside the store": lambda _folder, manifest: manifest,
        "unknown variant": lambda _folder, manifest: msgspec.structs.replace(manifest, serve="int4"),
        "another digest": lambda _folder, manifest: manifest,
        "no folder": lambda _folder, manifest: manifest,
        "a path out of the folder": lambda _folder, manifest: msgspec.structs.replace(
            manifest, files={**manifest.files, "../../other": "0" * 64}
        ),
    }


def _served(manifest: Manifest) -> str:
    return manifest.variants[manifest.serve]


def _corrupt(folder: Path, manifest: Manifest) -> Manifest:
    name = _served(manifest)
    content = (folder / name).read_bytes()
    return _sealed(folder, manifest, name, content[: len(content) // 2])


def _tampered(folder: Path, manifest: Manifest) -> Manifest:
    content = bytearray((folder / _served(manifest)).read_bytes())
    content[-len(content) // 50] ^= 1
    _write(folder / _served(manifest), bytes(content))
    return manifest


def _not_numbers(folder: Path, manifest: Manifest) -> Manifest:
    graph = onnx.load(str(folder / _served(manifest)))
    for tensor in graph.graph.initializer:
        if tensor.name.startswith("head.") and tensor.name.endswith(".weight"):
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(values, np.nan), tensor.name))
    return _sealed(folder, manifest, _served(manifest), graph.SerializeToString())


def _missing(folder: Path, manifest: Manifest) -> Manifest:
    """Leave the tokenizer out, or of a model of readings the known answers."""
    name = "tokenizer.json" if "tokenizer.json" in manifest.files else "golden.json"
    (folder / name).unlink()
    files = {file: digest for file, digest in manifest.files.items() if file != name}
    return msgspec.structs.replace(manifest, files=files)


def _huge(folder: Path, manifest: Manifest) -> Manifest:
    """Put a graph of a tebibyte beside, which takes no room on the disk."""
    with (folder / "model.huge.onnx").open("wb") as file:
        file.truncate(_HUGE_BYTES)
    return manifest


def _slow(folder: Path, manifest: Manifest) -> Manifest:
    """Let the graph compute products of large matrices, whose result changes nothing."""
    model = onnx.load(str(folder / _served(manifest)))
    graph, output = model.graph, model.graph.output[0].name
    inner = f"{output}.inner"
    for node in graph.node:
        node.output[:] = [inner if name == output else name for name in node.output]
    weights = np.full((_SIDE, _SIDE), 1.0 / _SIDE, dtype=np.float32)
    constants = {"slow.weights": weights, "slow.none": np.zeros((), dtype=np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    add = helper.make_node
    nodes = [
        add("ReduceMax", [inner], ["slow.peak"], keepdims=0),
        add("Sigmoid", ["slow.peak"], ["slow.small"]),
        add("Mul", ["slow.weights", "slow.small"], ["slow.0"]),
    ]
    nodes += [
        add("MatMul", [f"slow.{number}", "slow.weights"], [f"slow.{number + 1}"]) for number in range(_ROUNDS)
    ]
    nodes += [
        add("ReduceMax", [f"slow.{_ROUNDS}"], ["slow.max"], keepdims=0),
        add("Mul", ["slow.max", "slow.none"], ["slow.nothing"]),
        add("Add", [inner, "slow.nothing"], [output]),
    ]
    graph.node.extend(nodes)
    return _sealed(folder, manifest, _served(manifest), model.SerializeToString())


def _sealed(folder: Path, manifest: Manifest, name: str, content: bytes) -> Manifest:
    """Write a file and return the manifest with its right digest."""
    _write(folder / name, content)
    files = {**manifest.files, name: hashlib.sha256(content).hexdigest()}
    return msgspec.structs.replace(manifest, files=files)


def _write(path: Path, content: bytes) -> None:
    """Replace a file: its name may be a link to the sound release's own."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
