"""What a run of the demo is to do: rates, lengths of its phases, deadlines, and where its outputs go."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Phases:
    """Least lengths, and how long the demo waits for what the system does by itself. Seconds, or events.

    A phase ends when it is long enough *and* enough labelled answers came, or at its deadline.
    """

    baseline_s: float = 35.0
    baseline_answers: int = 1200
    after_s: float = 20.0
    after_answers: int = 900
    phase_deadline_s: float = 180.0
    serving_deadline_s: float = 90.0
    alert_deadline_s: float = 120.0
    release_deadline_s: float = 240.0
    swap_deadline_s: float = 60.0
    drain_deadline_s: float = 90.0
    history: int = 1200
    min_labels: int = 800
    replay: int = 600


SHORT = Phases(
    baseline_s=15.0,
    baseline_answers=500,
    after_s=8.0,
    after_answers=300,
    history=800,
    min_labels=600,
    replay=400,
)
"""For a quick look and for tests: the same loop, fewer events."""


@dataclass(frozen=True)
class ReplaySource:
    """A recorded file, or several in order, instead of the generator. See `infra.demo.recording`."""

    files: tuple[Path, ...]
    stream: str
    label: str = ""
    text: str = ""
    header: bool | None = None
    history: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Plan:
    """One run."""

    home: Path
    seed: int = 7
    rate: float = 60.0
    phases: Phases = field(default_factory=Phases)
    replay: ReplaySource | None = None
    json_path: str = ""
    report_path: Path | None = None
    keep_up: bool = False

    @property
    def stream(self) -> str:
        """Return the stream that is watched closely."""
        return self.replay.stream if self.replay else "requests"
