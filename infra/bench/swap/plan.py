"""What one run of `headrace bench swap` is to do: consumes the command's options, produces a plan."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

STREAM: Final = "swapped"


class Family(StrEnum):
    """What is swapped: MiniLM with a head, or a small network over readings."""

    TEXT = "text"
    SENSOR = "sensor"


@dataclass(frozen=True)
class SwapPlan:
    """Swap `swaps` times between two models while events come at `rate` a second (0: as many as it bears)."""

    home: Path
    swaps: int = 100
    family: Family = Family.TEXT
    rate: float = 0.0
    steady_s: float = 20.0
    pause_s: float = 0.1
    seed: int = 7

    def config(self) -> str:
        """Return the run's `headrace.toml`."""
        kind = "api" if self.family is Family.TEXT else "sensor"
        gate = f"[streams.{STREAM}.gate]\np99_ms = 500\n"
        return f'[streams.{STREAM}]\nkind = "{kind}"\n[streams.{STREAM}.model]\n{gate}'
