"""What is to be replayed and how: the options of one backtest, checked where they come in."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from schemas.errors import Fatal
from schemas.section import duration_s

TOLERANCE: Final = 1000
"""Rows after a true drift within which an alarm counts as having found it, unless said otherwise."""


class ModelName(StrEnum):
    """Which learner judges the rows."""

    AUTO = "auto"
    MLP = "mlp"
    TEXT = "text"
    TREE = "hoeffding-tree"
    NONE = "none"


class DetectorName(StrEnum):
    """Which detector watches the errors; `MMD` watches vectors of numbers instead."""

    ENSEMBLE = "ensemble"
    VOTE = "vote"
    ADWIN = "adwin"
    HDDM_W = "hddm_w"
    HDDM_A = "hddm_a"
    KSWIN = "kswin"
    DDM = "ddm"
    EDDM = "eddm"
    PAGE_HINKLEY = "page_hinkley"
    MMD = "mmd"


class Choice(StrEnum):
    """Which rows are labelled when not all are."""

    RANDOM = "random"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class ColumnPlan:
    """Which column is what, each by its name or its number from 0; empty: by the rules of `columns`."""

    label: str = ""
    time: str = ""
    errors: str = ""
    text: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    header: bool | None = None


@dataclass(frozen=True)
class Delay:
    """When a label comes: so many rows after its own, or so many seconds of event time."""

    rows: int = 0
    seconds: float = 0.0

    @property
    def none(self) -> bool:
        """Whether every label comes at once."""
        return not self.rows and not self.seconds


@dataclass(frozen=True)
class Plan:
    """One backtest. `detector` None is the ensemble, or what the stream is configured with.

    `training_s` is the event time that a stream's training takes, None what it takes on this machine.
    """

    files: tuple[Path, ...]
    columns: ColumnPlan = field(default_factory=ColumnPlan)
    model: ModelName = ModelName.AUTO
    delay: Delay = field(default_factory=Delay)
    label_rate: float = 1.0
    choice: Choice = Choice.UNCERTAIN
    detector: DetectorName | None = None
    reset_on_alarm: bool = False
    drifts: tuple[int, ...] = ()
    tolerance: int = TOLERANCE
    train_rows: int = 0
    baselines: bool = True
    seed: int = 7
    stream: str = ""
    training_s: float | None = None

    @property
    def errors_detector(self) -> str:
        """Return the detector's name where no stream says another."""
        return (self.detector or DetectorName.ENSEMBLE).value

    def check(self) -> None:
        """Refuse options that contradict one another.

        Raises:
            Fatal: the message names them.
        """
        if self.detector is DetectorName.MMD and (self.model is not ModelName.NONE or self.columns.errors):
            raise Fatal(
                "--detector mmd watches the rows' numbers; it goes with --model none, without --errors"
            )
        if not self.stream:
            if self.training_s is not None:
                raise Fatal("--training-time is of a stream's trainings; it goes with --stream")
            return
        if self.reset_on_alarm or self.model is not ModelName.AUTO or self.columns.errors:
            raise Fatal(
                "--stream takes the stream's own model and answers alarms by its own trainer;"
                " --model, --errors and --reset-on-alarm go without it"
            )


def parse_delay(text: str) -> Delay:
    """Read `500` as rows and `5m` as event time.

    Raises:
        Fatal: it is neither.
    """
    if not text:
        return Delay()
    if re.fullmatch(r"\d+", text):
        return Delay(rows=int(text))
    try:
        return Delay(seconds=float(duration_s(text)))
    except ValueError as error:
        raise Fatal(f"--label-delay: {error}; a bare number is a number of rows") from error


def parse_training_time(text: str) -> float | None:
    """Read `30s` as event time; nothing as the time that a training takes on this machine.

    Raises:
        Fatal: it is no duration.
    """
    if not text:
        return None
    try:
        return float(duration_s(text))
    except ValueError as error:
        raise Fatal(f"--training-time: {error}") from error


def parse_drifts(text: str) -> tuple[int, ...]:
    """Read true drift points: numbers with commas, or a file with one a line (or the same list).

    Raises:
        Fatal: something in it is no row number.
    """
    path = Path(text)
    given = path.read_text(encoding="utf-8") if text and path.is_file() else text
    found = []
    for word in re.split(r"[,\s]+", given.strip()):
        if not word:
            continue
        if not word.isdecimal():
            raise Fatal(f"--drifts: {word[:40]!r} is neither a row number nor a file of them")
        found.append(int(word))
    return tuple(sorted(set(found)))


def split_names(text: str) -> tuple[str, ...]:
    """Split column names at commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
