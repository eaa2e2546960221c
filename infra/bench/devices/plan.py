"""What one run of `headrace bench devices` is to do, and the texts and graphs that it needs.

Consumes a release folder of a text classifier, produces its graphs in FP32, FP16 and INT8 and its own rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from infra.bench.stack import Say
from infra.runtime.object_store import MANIFEST
from schemas import codec
from schemas.errors import Fatal
from schemas.release import Manifest, Task
from serving.predictor import tokenizer_of
from serving.release import TOKENIZER
from trainers import folders
from trainers.compression.half import halve
from trainers.dataset import Dataset
from trainers.row import Row

MARKER: Final = ".headrace-bench-devices"
COMMAND: Final = "headrace bench devices"


@dataclass(frozen=True)
class DevicesPlan:
    """Measure batches of `batches` rows of `tokens` tokens for `seconds` each; compare `texts` answers.

    `steps` is for how many steps, in whole epochs, the base is tuned on each device; 0 leaves that out.
    """

    home: Path
    batches: Sequence[int] = (1, 8, 64)
    tokens: int = 16
    seconds: float = 2.0
    texts: int = 300
    steps: int = 0
    seed: int = 7


class Subject(NamedTuple):
    """The model that is measured: its manifest, its graphs by precision, its own rows and their token ids."""

    manifest: Manifest
    graphs: dict[str, bytes]
    rows: list[Row]
    ids: list[list[int]]
    vocabulary: int


def subject(folder: Path, plan: DevicesPlan) -> Subject:
    """Read a release of a text classifier and make its FP16 graph.

    Raises:
        Fatal: it is no text classifier, or keeps no rows.
    """
    try:
        manifest = codec.decode((folder / MANIFEST).read_bytes(), Manifest)
    except OSError as error:
        raise Fatal(f"{folder} is no release folder: {error.strerror}") from error
    if manifest.family != "text" or manifest.task is not Task.CLASSIFICATION:
        raise Fatal(f"{folder} holds a model of readings; devices are compared by a classifier of texts")
    if not (folder / folders.ROWS).is_file():
        raise Fatal(f"{folder} keeps no rows to compare answers by ({folders.ROWS})")
    full, half = folder / manifest.variants["fp32"], plan.home / "model.fp16.onnx"
    halve(full, half)
    graphs = {"fp32": full.read_bytes(), "fp16": half.read_bytes()}
    if "int8" in manifest.variants:
        graphs["int8"] = (folder / manifest.variants["int8"]).read_bytes()
    data = msgspec.json.decode(folders.unpacked(folder / folders.ROWS), type=Dataset)
    rows = [*data.test, *data.validation, *data.training]
    tokenizer = tokenizer_of((folder / TOKENIZER).read_bytes(), manifest.max_tokens)
    ids = [each.ids for each in tokenizer.encode_batch([row.text for row in rows[: plan.texts]])]
    return Subject(manifest, graphs, rows, ids, tokenizer.get_vocab_size())


def trained(home: Path, say: Say) -> Path:
    """Return the folder of a release like the one of `headrace bench serve`; the first run trains it."""
    from infra.bench.serve.models import folder_of, release
    from infra.bench.serve.plan import Scenario, ServePlan

    return folder_of(release(ServePlan(home, Scenario.MINILM, ()), say))
