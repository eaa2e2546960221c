"""What is served and what is asked: consumes a plan, produces a trained release and the rows of the requests.

The release is made as `headrace bench swap` makes its first one, and kept for the next run.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from infra.bench.credential import COUNTED
from infra.bench.serve.plan import NAME, Scenario, ServePlan
from infra.bench.stack import Say
from infra.bench.swap.models import questions, two
from infra.bench.swap.plan import SwapPlan
from infra.demo.first_model import cleaned
from infra.demo.traffic import Traffic
from infra.runtime.settings import parse
from schemas import codec
from schemas.release import Release

Row = str | list[float]

_KEPT: Final = "release.json"


def config_of(plan: ServePlan) -> str:
    """Return the `headrace.toml` under which the model is trained and served."""
    text = f"{SwapPlan(plan.home, family=plan.scenario.family).config()}{COUNTED}"
    return text.replace(".model]\n", '.model]\nprecision = "int8"\n') if "api" in text else text


def home_of(plan: ServePlan) -> Path:
    """Return the data folder in which Headrace serves: one for each family, as the release lies in it."""
    return plan.home / f"headrace-{plan.scenario.family.value}"


def release(plan: ServePlan, say: Say) -> Release:
    """Return the release to serve, trained first where no earlier run did.

    Raises:
        Fatal: the model could not be trained.
    """
    home = home_of(plan)
    home.mkdir(parents=True, exist_ok=True)
    config = home / "headrace.toml"
    config.write_text(config_of(plan), encoding="utf-8")
    kept = home / _KEPT
    if kept.exists():
        return codec.decode(kept.read_bytes(), Release)
    say("training the model (once)")
    stream = parse(config_of(plan), str(config)).streams[NAME]
    first, _ = two(SwapPlan(home, family=plan.scenario.family, seed=plan.seed), stream)
    kept.write_bytes(codec.encode(first))
    return first


def folder_of(made: Release) -> Path:
    """Return the folder of a release on this machine."""
    return Path(unquote(urlsplit(made.uri).path))


def rows(plan: ServePlan, made: Release) -> list[Row]:
    """Return the rows of the requests, in the order in which they are asked."""
    stream = parse(config_of(plan), "headrace.toml").streams[NAME]
    if plan.scenario is Scenario.CACHED:
        traffic = Traffic(plan.seed + 1, 300.0, "before", stream=NAME).history(plan.rows)
        texts = [event.text for event in cleaned({NAME: stream}, traffic, datetime.now(UTC))]
        return [*repeated(texts, plan.rows, plan.seed)]
    asked = questions(SwapPlan(home_of(plan), family=plan.scenario.family), stream, datetime.now(UTC))
    events = list(islice(asked, plan.rows))
    if plan.scenario is Scenario.MINILM:
        return [event.text for event in events]
    features = _features(folder_of(made))
    return [[float(event.values[name]) for name in features] for event in events]


def repeated(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw texts with the frequencies of masked log lines: the r-th commonest comes 1/r times as often.

    Words and templates follow that law (Zipf, Human Behavior and the Principle of Least Effort, 1949).
    """
    distinct = list(dict.fromkeys(texts))
    weights = [1 / rank for rank in range(1, len(distinct) + 1)]
    return Random(seed).choices(distinct, weights, k=count)


def _features(folder: Path) -> Sequence[str]:
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    names: Sequence[str] = manifest["features"]
    return names
