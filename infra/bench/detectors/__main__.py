"""The detector benchmark: consumes detectors' names, produces a table of what each finds, and JSON.

    python -m infra.bench.detectors [--detectors ensemble,hddm_w] [--seeds 3] [--data ../shared/data/tornado]
        [--json FILE] [--markdown FILE]

Seeds are fixed: a second run differs in speed alone. Nothing is tuned to a family; `delta` is the default's.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from infra.bench.detectors import tornado
from infra.bench.detectors.families import FAMILIES, Family
from infra.bench.detectors.report import markdown
from infra.bench.detectors.trial import Figures, alarms, judged, updates_per_s
from streams.drift.error import DETECTORS

_DELTA: Final = 0.001


def over(family: Family, name: str) -> Figures:
    """Return a detector's figures over a family; it begins anew at each stream."""
    total = Figures()
    for bits in family.streams():
        total.add(judged(family, bits, alarms(DETECTORS[name](_DELTA), bits)))
    return total


def over_tornado(stream: str, name: str, seeds: int, data: Path) -> Figures:
    """Return a detector's figures over the recorded stream and `seeds` generated ones."""
    total = Figures()
    if data.is_dir():
        total.add(tornado.prequential(tornado.recorded(data, stream), DETECTORS[name](_DELTA)))
    for seed in range(seeds):
        total.add(tornado.prequential(tornado.generated(stream, seed), DETECTORS[name](_DELTA)))
    return total


def measure(names: list[str], seeds: int, data: Path) -> dict[str, Any]:
    """Return all figures; tells on standard error what it is at."""
    families: dict[str, dict[str, Any]] = {}
    for family in FAMILIES:
        _say(family.name)
        families[family.name] = {name: over(family, name).summary() for name in names}
    for stream in tornado.NAMES:
        title = f"Tornado {stream}, Hoeffding tree"
        families[title] = {}
        for name in names:
            _say(f"{title}, {name}")
            figures = over_tornado(stream, name, seeds, data)
            families[title][name] = {**figures.summary(), "error_rate": round(figures.error_rate, 4)}
    bits = np.random.default_rng(0).random(200_000) < 0.15
    speed = {name: round(updates_per_s(DETECTORS[name](_DELTA), bits)) for name in names}
    return {"delta": _DELTA, "families": families, "updates_per_s": speed}


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.detectors")
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tornado"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args()
    figures = measure(asked.detectors.split(","), asked.seeds, asked.data)
    table = markdown(figures)
    sys.stdout.write(table)
    if asked.markdown:
        asked.markdown.write_text(table, encoding="utf-8")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
