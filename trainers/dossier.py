"""What a candidate leaves behind so that it can be understood, and trained again: files in, files out.

In a release folder they lie under `training/`, beside the network, and count among the files whose sha256 is
in the manifest; of a rejected candidate card and history lie in its run folder.
"""

import gzip
from pathlib import Path
from typing import Final

import msgspec

from trainers.card import Card, markdown
from trainers.dataset import Dataset
from trainers.folders import CARD, CARD_TEXT, GOLDEN_ROWS, HISTORY, JOB, ROWS
from trainers.golden import Golden
from trainers.history import History
from trainers.outcome import Job

_MAX_ROWS_BYTES: Final = 64 * 1024 * 1024
"""Compressed rows beyond this stay out of the release; their range and digest say where they lie."""


def describe(folder: Path, card: Card, history: History) -> None:
    """Write card and history into a folder."""
    (folder / "training").mkdir(exist_ok=True)
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2))
    (folder / CARD_TEXT).write_text(markdown(card), encoding="utf-8")
    (folder / HISTORY).write_bytes(msgspec.json.encode(history))


def keep(folder: Path, job: Job, data: Dataset, golden: Golden | None) -> None:
    """Write into a release folder what it takes to train it again: settings and rows, golden ones too.

    The rows are clean events: what is masked in the stream is masked here.
    """
    (folder / "training").mkdir(exist_ok=True)
    (folder / JOB).write_bytes(msgspec.json.encode(job))
    if golden is not None:
        (folder / GOLDEN_ROWS).write_bytes(msgspec.json.encode(golden))
    packed = gzip.compress(msgspec.json.encode(data), compresslevel=6, mtime=0)
    if len(packed) <= _MAX_ROWS_BYTES:
        (folder / ROWS).write_bytes(packed)
