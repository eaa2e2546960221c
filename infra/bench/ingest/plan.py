"""What one run of `headrace bench ingest` is to do: consumes the command's options, produces a plan."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.record import Kind

STREAM: Final = "ingest"
"""The stream that is measured."""

WARM_UP_STREAM: Final = "ready"
"""The stream of the few events by which the run finds out that everything is up."""


@dataclass(frozen=True)
class IngestPlan:
    """Publish `rate` events a second of one kind for `warm_up_s` and then, measured, for `seconds`."""

    home: Path
    rate: float = 10_000.0
    seconds: float = 60.0
    warm_up_s: float = 10.0
    kind: Kind = Kind.SENSOR
    dedupe_window: str = "7d"
    json_path: str = ""
    plot_path: Path | None = None

    @property
    def unmeasured(self) -> int:
        """How many events of the warm-up come before the first measured one."""
        return round(self.rate * self.warm_up_s)

    @property
    def total(self) -> int:
        """How many events are published, the warm-up's included."""
        return self.unmeasured + round(self.rate * self.seconds)

    def config(self) -> str:
        """Return the run's `headrace.toml`: all but the dedupe window is as it is by default."""
        return "\n".join(
            f'[streams.{name}]\nkind = "{self.kind.value}"\ndedupe = {{ window = "{self.dedupe_window}" }}\n'
            for name in (STREAM, WARM_UP_STREAM)
        )
