"""What was sent and what came of it: written by the sender, read by the watch and the final check.

Times are seconds since 1970, of the one machine that everything runs on.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from schemas.record import Identity


@dataclass(slots=True)
class Sent:
    """One event identity: when it was first sent, how often the gateway accepted it, and its truth."""

    stream: str
    label: str
    phase: str
    sent_at: float
    occurred_at: datetime
    acknowledgements: int = 0
    refused: str = ""
    label_sent_at: float | None = None


@dataclass
class Ledger:
    """The demo's own book. `requests` counts HTTP event requests, `messages` the events and records in them.

    `rejected_http` are the gateway's refusals by reason, `unexpected` refusals of what should have been taken
    or acceptances of what should have been refused, in words.
    """

    events: dict[Identity, Sent] = field(default_factory=dict)
    requests: int = 0
    messages: int = 0
    copies_sent: int = 0
    malformed_sent: int = 0
    bad_records_sent: Counter[str] = field(default_factory=Counter)
    labels_sent: int = 0
    rejected_http: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    answer_ms: list[float] = field(default_factory=list)

    def accepted(self) -> dict[Identity, Sent]:
        """Return the events that the gateway acknowledged at least once: those that must not be lost."""
        return {identity: sent for identity, sent in self.events.items() if sent.acknowledgements}

    @property
    def accepted_count(self) -> int:
        """How many distinct events were acknowledged."""
        return sum(1 for sent in self.events.values() if sent.acknowledgements)

    @property
    def acknowledgements(self) -> int:
        """How many messages were acknowledged, copies included."""
        return sum(sent.acknowledgements for sent in self.events.values())
