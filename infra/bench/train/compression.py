"""Compression against eager torch: consumes files of labelled texts, produces figures of every variant.

Each file becomes the first release of a stream, tuned and gated as any; its variants are then made and
measured as `headrace models compress` does. Torch is asked for one short line at a time, in inference mode,
on one thread and on two; the faster is the peer.
"""

import csv
import functools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from schemas.clean import Clean
from schemas.config import Gate, Stream
from schemas.errors import Fatal
from schemas.record import Coordinates, Kind
from trainers.backbone import Backbone
from trainers.bootstrap import train_first
from trainers.compression.run import Compressed, compress
from trainers.compression.variants import Wishes
from trainers.encoder import locate, padded, session
from trainers.model import folder_of
from trainers.tasks.texts import TextNetwork

_SHORT: Final = 16
"""Tokens of a short line at most."""
_LINES: Final = 40
_ROUNDS: Final = 7

Labelled = tuple[str, str]


def run(home: Path, files: Sequence[Path], rows: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of each file's task; those of the first are at the top.

    Raises:
        Fatal: a file is neither such a CSV nor such a JSON.
    """
    tasks = {path.parent.name: _task(home, path, rows, tell) for path in files}
    return {**next(iter(tasks.values())), "tasks": tasks}


def read(path: Path) -> list[Labelled]:
    """Return texts and labels: CSV with `payload` and `attack_type`, or JSON with pairs in train and test."""
    if path.suffix == ".json":
        told = json.loads(path.read_text(encoding="utf-8"))
        return [(text, label) for side in ("train", "test") for text, label in told[side]]
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines or not {"payload", "attack_type"} <= lines[0].keys():
        raise Fatal(f"{path} has no columns `payload` and `attack_type`")
    return [(line["payload"], line["attack_type"]) for line in lines]


def _task(home: Path, path: Path, rows: int, tell: Callable[[str], None]) -> dict[str, Any]:
    every = read(path)
    order = np.random.default_rng(7).permutation(len(every))[:rows]
    name = path.parent.name.replace("_", "-")
    stream = Stream.model_validate(
        {"kind": "log", "model": {"learn": {"budget_s": 1200}}, "gate": {"p99_ms": 500}}
    )
    tell(f"{name}: first release of {len(order)} rows")
    release = train_first(home, name, stream, _events([every[at] for at in order], name))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        done = compress(
            folder_of(release.uri),
            home,
            Path(scratch),
            Wishes(),
            Gate(),
            lambda step: tell(f"{name}: {step}"),
        )
        tell(f"{name}: torch")
        peers = against_torch(done)
    best = min(peers["torch_1"], peers["torch_2"])
    ratios = {
        "int8_over_torch": best / min(peers["int8"], peers["int8-static"]),
        "int8_dynamic_over_torch": best / peers["int8"],
        "int8_static_over_torch": best / peers["int8-static"],
    }
    return {
        "compression": {name: msgspec.to_builtins(each) for name, each in done.worth.items()},
        "best": done.best,
        "short_lines_p50_ms": {name: round(value, 4) for name, value in peers.items()},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "held_out": len(done.source.data.test),
    }


def against_torch(done: Compressed, rounds: int = _ROUNDS) -> dict[str, float]:
    """Return the median milliseconds of one short line: of torch, by threads, and of the source's graphs."""
    source = done.source
    texts = [row.text for row in source.data.test]
    short = [ids for ids in source.encoder.tokens(texts) if len(ids) <= _SHORT][:_LINES]
    if not short:
        raise Fatal(f"no held-out row has {_SHORT} tokens or fewer")
    feeds = [padded([ids]) for ids in short]
    tensors = [{name: torch.from_numpy(value) for name, value in feed.items()} for feed in feeds]
    backbone = Backbone.load(locate(source.manifest.base), source.model.backbone)
    network = TextNetwork(backbone, source.model.network.clone()).eval()
    open_graphs = {name: session(done.variants[name].graph.path) for name in ("fp32", "int8", "int8-static")}
    before = torch.get_num_threads()
    spent: dict[str, list[float]] = {}
    try:
        with torch.inference_mode():
            for _ in range(rounds):
                for name, running in open_graphs.items():
                    spent.setdefault(name, []).extend(_ms(functools.partial(running.run, None), feeds))
                for threads in (1, 2):
                    torch.set_num_threads(threads)
                    spent.setdefault(f"torch_{threads}", []).extend(
                        _ms(lambda given: network(**given), tensors)
                    )
    finally:
        torch.set_num_threads(before)
    return {name: float(np.median(times)) for name, times in spent.items()}


def _ms(run_one: Callable[[Any], object], inputs: Sequence[Any]) -> list[float]:
    run_one(inputs[0])
    times = []
    for given in inputs:
        began = time.perf_counter()
        run_one(given)
        times.append(1000 * (time.perf_counter() - began))
    return times


def _events(rows: Sequence[Labelled], stream: str) -> list[tuple[Clean, str | None]]:
    """Return rows as clean events, a second apart."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        (
            Clean(
                stream=stream, kind=Kind.LOG, source=stream, id=str(number),
                time=start + timedelta(seconds=number), raw=Coordinates("events.raw", 0, number), text=text,
            ),
            label,
        )
        for number, (text, label) in enumerate(rows)
    ]  # fmt: skip
