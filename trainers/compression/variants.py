"""Makes variants of a text model: consumes release folder and wishes, produces models and graphs.

Everything is made in a scratch folder: the base model's own graphs and cached vectors are not touched, since
a static graph is calibrated on this release's texts.
"""

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import onnx
import torch

from schemas.errors import Fatal
from schemas.release import Manifest
from trainers import export, folders
from trainers.backbone import Backbone
from trainers.compression import half, static
from trainers.compression.distil import DistilledLearner, student
from trainers.compression.measure import Graph
from trainers.compression.prune import prune_structure, prune_weights
from trainers.dataset import Dataset
from trainers.encoder import Encoder, Precision, locate, prepare
from trainers.fit import Run, fit
from trainers.model import Model, open_model
from trainers.recipe import Mode, Recipe
from trainers.tasks.texts import Ids

Tell = Callable[[str], None]

_RATE: Final = 2e-4
"""AdamW's rate of a student: it begins further from its goal than a tuned encoder does."""
_VALIDATION: Final = 0.1


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """Which variants are wanted beside FP32 and dynamic INT8, and how long students learn.

    `prune` and `prune_weights` are shares, `student_layers` a number of layers; 0 leaves them out.
    """

    int8_static: bool = True
    fp16: bool = True
    prune: float = 0.25
    prune_weights: float = 0.3
    student_layers: int = 3
    calibration: static.Method = "minmax"
    epochs: int = 4
    rows: int = 2000
    seed: int = 7


@dataclass(frozen=True)
class Source:
    """A release as it is compressed: its model in FP32, its manifest and its own rows."""

    folder: Path
    model: Model
    manifest: Manifest
    data: Dataset

    @property
    def encoder(self) -> Encoder:
        """Return the encoder, which a source always has."""
        assert self.model.encoder is not None  # noqa: S101 - `opened` refused a model without one
        return self.model.encoder


@dataclass(frozen=True)
class Variant:
    """A model in the precision of the variant, and its whole graph."""

    name: str
    model: Model
    graph: Graph


def opened(folder: Path, home: Path) -> Source:
    """Open a release folder with the rows that it keeps.

    Raises:
        Fatal: it is no text classifier, or keeps no rows.
    """
    model, manifest = open_model(folder, home, 1)
    if model.encoder is None:
        raise Fatal(f"{manifest.model} {manifest.version} is a sensor network of kilobytes: FP32 is its best")
    if not (folder / folders.ROWS).is_file():
        raise Fatal(f"{folder} keeps no rows to calibrate and to measure with ({folders.ROWS})")
    data = msgspec.json.decode(folders.unpacked(folder / folders.ROWS), type=Dataset)
    return Source(folder, model.at("fp32"), manifest, data)


def make(source: Source, wishes: Wishes, scratch: Path, tell: Tell) -> dict[str, Variant]:
    """Return the wanted variants by name, FP32 first; their files lie in `scratch`."""
    own = scratch / "encoders" / source.encoder.digest
    shutil.copytree(source.encoder.folder, own)
    encoder = Encoder(own, scratch / "embeddings", max_tokens=source.encoder.max_tokens)
    found: dict[str, Variant] = {}
    _precisions("", replace(source.model, encoder=encoder), source, wishes, scratch, found, tell)
    if wishes.fp16:
        tell("fp16")
        half.halve(encoder.graph("fp32"), encoder.graph("fp16"))
        _add("fp16", replace(source.model, encoder=encoder), "fp16", scratch, found)
    base = Backbone.load(locate(source.manifest.base), source.model.backbone)
    if wishes.prune_weights:
        tell("pruned-weights")
        zeroed = copy.deepcopy(base)
        prune_weights(zeroed, wishes.prune_weights)
        _add("pruned-weights", _rebuilt(zeroed, "pruned-weights", source, scratch), "fp32", scratch, found)
    if wishes.prune:
        tell("pruned")
        pruned = copy.deepcopy(base)
        prune_structure(pruned, wishes.prune)
        _learn(pruned, source, encoder, wishes)
        cut = _rebuilt(pruned, "pruned", source, scratch)
        _precisions("pruned", cut, source, wishes, scratch, found, tell)
    if wishes.student_layers:
        name = f"student-{wishes.student_layers}"
        tell(name)
        small = student(base, wishes.student_layers)
        _learn(small, source, encoder, wishes)
        _precisions(name, _rebuilt(small, name, source, scratch), source, wishes, scratch, found, tell)
    return found


def _precisions(
    name: str, model: Model, source: Source, wishes: Wishes, scratch: Path,
    found: dict[str, Variant], tell: Tell,
) -> None:  # fmt: skip
    """Add a network's FP32, dynamic and static INT8 variants."""
    encoder = model.encoder
    assert encoder is not None  # noqa: S101 - text models only get here
    kinds: list[Precision] = ["fp32", "int8"]
    if wishes.int8_static:
        kinds.append("int8-static")
        tell(f"{name} int8-static".strip())
        ids = encoder.tokens([row.text for row in source.data.training[: static.ROWS]])
        static.quantise(encoder.graph("fp32"), encoder.graph("int8-static"), ids, method=wishes.calibration)
    for kind in kinds:
        _add(f"{name}-{kind}" if name else kind, model, kind, scratch, found)


def _add(name: str, model: Model, kind: Precision, scratch: Path, found: dict[str, Variant]) -> None:
    assert model.encoder is not None  # noqa: S101 - text models only get here
    path = scratch / f"{name}.onnx"
    onnx.save(export.text_graph(model.encoder.graph(kind), model.network), path)
    found[name] = Variant(name, model.at(kind), Graph(path, model.encoder, model.labels))


def _rebuilt(backbone: Backbone, name: str, source: Source, scratch: Path) -> Model:
    """Return the source's head before other weights, whose graphs are exported."""
    weights = scratch / f"{name}.safetensors"
    backbone.save(weights)
    encoder = prepare(
        scratch / name, source.manifest.base, max_tokens=source.encoder.max_tokens, weights=weights
    )
    return replace(source.model, encoder=encoder, backbone=weights)


def _learn(backbone: Backbone, source: Source, encoder: Encoder, wishes: Wishes) -> None:
    """Teach a smaller encoder what the source's says to its training texts."""
    texts = list(dict.fromkeys(row.text for row in source.data.training))[: wishes.rows]
    vectors = torch.from_numpy(encoder.features(texts))
    recipe = Recipe(mode=Mode.FULL, epochs=wishes.epochs, encoder_rate=_RATE, seed=wishes.seed)
    pad = backbone.config.pad_token_id or 0
    learner = DistilledLearner(
        backbone, source.model.network.clone(), Ids(encoder.tokens(texts), pad), vectors
    )
    held = max(1, int(_VALIDATION * len(texts)))
    numbers = list(range(len(texts)))
    fit(learner, numbers[held:], numbers[:held], recipe, Run())
    backbone.requires_grad_(False).cpu().eval()
