"""Small release folders for tests: a manifest and one file, laid out and sealed as the trainer does."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas import codec
from schemas.release import Manifest, Release, Task
from trainers import folders

MADE: datetime = datetime(2026, 3, 1, tzinfo=UTC)


def lay_out(releases: Path, version: int, *, model: str = "requests", parent: int | None = None) -> Release:
    """Write a release folder made `version` days after the first of March, and return its record."""
    folder = releases / model / str(version)
    folder.mkdir(parents=True)
    (folder / "model.fp32.onnx").write_bytes(f"graph {version}".encode())
    manifest = Manifest(
        model=model,
        version=version,
        stream=model,
        task=Task.CLASSIFICATION,
        family="text",
        base="minilm",
        labels=("normal", "sqli"),
        variants={"fp32": "model.fp32.onnx"},
        serve="fp32",
        metrics={"accuracy": 0.9 + version / 100},
        parent=parent,
        created_at=MADE + timedelta(days=version),
        files={"model.fp32.onnx": hashlib.sha256(f"graph {version}".encode()).hexdigest()},
    )
    (folder / "manifest.json").write_bytes(codec.encode(manifest))
    return folders.record(releases, model, version)
