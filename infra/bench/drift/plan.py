"""What one run of `headrace bench drift` does: consumes the command's options, produces a plan."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.record import Kind

STREAMS: Final = ("north", "east", "south", "west")
"""The streams of the live part; each drifts at its own time, so that there are four latencies."""


@dataclass(frozen=True)
class LivePlan:
    """Publish `rate` events a second over four streams, which drift one after the other.

    `window_s` is the length of the drift watch's windows; a reference takes one, and two must agree.
    """

    home: Path
    rate: float = 20_000.0
    window_s: float = 10.0
    kind: Kind = Kind.SENSOR

    @property
    def steady_s(self) -> float:
        """How long nothing drifts: the reference, and two windows that are compared with it."""
        return 4.0 * self.window_s

    @property
    def seconds(self) -> float:
        """How long the load goes on."""
        return self.steady_s + 5.0 * self.window_s

    @property
    def total(self) -> int:
        """How many events are published."""
        return round(self.rate * self.seconds)

    @property
    def shift_from(self) -> tuple[int, ...]:
        """The sequence number at which each stream begins to drift: a fifth of a window apart."""
        return tuple(
            round(self.rate * (self.steady_s + 0.2 * n * self.window_s)) for n in range(len(STREAMS))
        )

    def config(self) -> str:
        """Return the run's `headrace.toml`: all but the window is as it is by default."""
        watched = f'drift = {{ input = {{ window = "{self.window_s:g}s" }} }}'
        return "\n".join(f'[streams.{name}]\nkind = "{self.kind.value}"\n{watched}\n' for name in STREAMS)


@dataclass(frozen=True)
class DriftPlan:
    """`events` steady events for each kind and seed, `rate` a second of event time; then the live part."""

    events: int = 1_000_000
    rate: float = 1000.0
    seeds: int = 1
    kinds: tuple[Kind, ...] = field(default_factory=lambda: (Kind.SENSOR, Kind.API, Kind.LOG))
    live: LivePlan | None = None
