"""What became of one batch of the cleaning stage: its outputs, and the counts that people watch."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from schemas import topics
from schemas.errors import Reason
from schemas.outputs import Outputs
from schemas.record import Outgoing


@dataclass(slots=True)
class Tally:
    """One stream's part of a batch; the nameless stream's is what could not be routed."""

    accepted: int = 0
    duplicates: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    newest: datetime | None = None
    """The event time of the last one accepted."""

    def __bool__(self) -> bool:
        return bool(self.accepted or self.duplicates or self.rejected)


@dataclass(slots=True)
class Batch:
    """Clean events keep their order in `outgoing`; the changelog is last."""

    outgoing: Outputs = field(default_factory=lambda: Outputs(topics.CLEAN.name))
    by_stream: dict[str, Tally] = field(default_factory=dict)
    forwarded: int = 0
    waiting: dict[str, list[Outgoing]] = field(default_factory=dict)
    """What was parked, by stream; `outgoing` has it too."""

    def of(self, stream: str) -> Tally:
        """Return a stream's part."""
        tally = self.by_stream.get(stream)
        if tally is None:
            tally = self.by_stream[stream] = Tally()
        return tally

    @property
    def parked(self) -> Counter[str]:
        """Return how many events were parked, by stream."""
        return Counter({stream: len(records) for stream, records in self.waiting.items()})

    @property
    def accepted(self) -> int:
        """Return how many events went on, of all streams."""
        return sum(tally.accepted for tally in self.by_stream.values())

    @property
    def duplicates(self) -> int:
        """Return how many events were dropped as copies, of all streams."""
        return sum(tally.duplicates for tally in self.by_stream.values())

    @property
    def rejected(self) -> Counter[Reason]:
        """Return how many events were rejected, by reason."""
        return sum((tally.rejected for tally in self.by_stream.values()), Counter[Reason]())
