"""The examination of a candidate: consumes its folder on disk, champion and rows, produces a verdict.

    folder -> integrity -> evidence -> gate

The figures of a folder that is not sound mean nothing and are not taken: its verdict says what is broken.
"""

from dataclasses import dataclass, field
from pathlib import Path

from schemas.config import Gate
from schemas.release import Manifest
from trainers import integrity
from trainers.dataset import Dataset
from trainers.evaluate import judged_by, measure
from trainers.gate import Verdict, judge
from trainers.golden import Golden
from trainers.model import Model
from trainers.slices import Slice


@dataclass(frozen=True)
class Examined:
    """The verdict, and where the candidate is weakest."""

    verdict: Verdict
    slices: list[Slice] = field(default_factory=list)


def examine(
    folder: Path, manifest: Manifest, candidate: Model, champion: Model | None, data: Dataset,
    golden: Golden | None, gate: Gate, agreement: float | None = None,
) -> Examined:  # fmt: skip
    """Examine a completed folder; `candidate` is what it was written from, in its serving precision.

    `agreement` is INT8's with FP32, None where there is no INT8.
    """
    recent, old = judged_by(data)
    sample = [row for pair in zip(recent[:12], old[:12], strict=False) for row in pair] or recent[:24]
    problems = integrity.check(folder, manifest, candidate, sample)
    if problems:
        return Examined(Verdict(False, problems, {}))
    evidence = measure(candidate, champion, folder, manifest.variants, data, golden, agreement)
    return Examined(judge(evidence, gate), evidence.slices)
