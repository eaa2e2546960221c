"""Compresses a release: consumes its folder and wishes, produces figures of its variants and maybe a release.

release -> variants -> worth -> the fastest that is good enough -> gate -> a new version
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from schemas.config import Gate
from schemas.release import Release
from trainers import export, folders, golden, release
from trainers.compression.measure import Worth, worth
from trainers.compression.variants import Source, Tell, Variant, Wishes, make, opened
from trainers.examine import examine
from trainers.gate import Verdict
from trainers.manifest import Asked, draft

MOST_COST: Final = 0.004
"""Accuracy that a variant may cost: four tenths of a point."""
MOST_F1: Final = 0.02
"""Macro F1 that it may cost: a rare class that is lost hardly shows in the accuracy."""


@dataclass(frozen=True)
class Compressed:
    """The source, its variants and what each is worth."""

    source: Source
    variants: dict[str, Variant]
    worth: dict[str, Worth]
    best: str

    @property
    def serves(self) -> str:
        """Return the name of the variant that the source serves."""
        return self.source.manifest.serve


def compress(folder: Path, home: Path, scratch: Path, wishes: Wishes, gate: Gate, tell: Tell) -> Compressed:
    """Make a release's variants in `scratch` and measure them on its held-out rows.

    Raises:
        Fatal: the release is no text classifier, or keeps no rows.
    """
    source = opened(folder, home)
    variants = make(source, wishes, scratch, tell)
    tell("measuring")
    found = worth({name: variant.graph for name, variant in variants.items()}, source.data.test)
    return Compressed(source, variants, found, best(found, gate))


def best(found: dict[str, Worth], gate: Gate) -> str:
    """Return the fastest variant of those that agree with FP32 and cost little (`MOST_COST`, `MOST_F1`).

    FP16 is never it: what it gains shows on a GPU only.
    """
    full = found["fp32"]
    good = {
        name: each
        for name, each in found.items()
        if each.agreement >= gate.min_agreement
        and full.accuracy - each.accuracy <= MOST_COST + 1e-9
        and full.f1_macro - each.f1_macro <= MOST_F1 + 1e-9
        and name != "fp16"
    }
    return min(good, key=lambda name: good[name].p50_ms)


def write_release(done: Compressed, name: str, home: Path, gate: Gate) -> tuple[Release | None, Verdict]:
    """Put a variant through the gate against its source and, if it passes, write it as the next version.

    It must not be worse: the gate's paired test has to exclude a loss of `gate.clear_gain`.
    """
    source, variant = done.source, done.variants[name]
    manifest, candidate = source.manifest, variant.model
    releases = home / "releases"
    test = source.data.test
    lenient = gate.model_copy(update={"min_gain": -gate.clear_gain})
    with release.building(releases, manifest.model) as folder:
        files = export.write(folder, candidate.network, candidate.encoder)
        if candidate.precision not in files:
            files[candidate.precision] = f"model.{candidate.precision}.onnx"
            shutil.copy(variant.graph.path, folder / files[candidate.precision])
        (folder / folders.ROWS).write_bytes((source.folder / folders.ROWS).read_bytes())
        version = folders.reserve(home, releases, manifest.model)
        asked = Asked(manifest.model, manifest.stream, manifest.base, manifest.version)
        drafted = draft(asked, candidate, source.data, files, version)
        complete = release.complete(folder, candidate, test, drafted)
        kept = golden.load(home, manifest.model) if gate.golden_rows else None
        verdict = examine(
            folder, complete, candidate, source.model, source.data, kept, lenient, done.worth[name].agreement
        ).verdict
        if not verdict.released:
            return None, verdict
        told = msgspec.structs.replace(complete, metrics=verdict.metrics)
        return release.finish(folder, releases, told), verdict
