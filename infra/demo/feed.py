"""What the demo sends, as plain data: events, their truth, malformed requests and bad records.

A feed (`infra.demo.traffic`, `infra.demo.replay`) produces these items in order; the sender does the rest.
Times are seconds since the feed began.
"""

from dataclasses import dataclass
from typing import Protocol

from schemas.errors import Reason
from schemas.raw import Payload
from schemas.record import Identity, Kind


@dataclass(frozen=True, slots=True)
class Event:
    """One event to publish. `occurred_s` lies before `due_s` for a late event and for a retried one.

    `copy` marks a retry: the same identity and content as an event sent before.
    """

    due_s: float
    identity: Identity
    stream: str
    kind: Kind
    data: Payload
    label: str
    occurred_s: float
    copy: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth of one event, known some seconds after it."""

    due_s: float
    identity: Identity
    stream: str
    label: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """An HTTP request that the gateway must refuse, and the reason that it should give."""

    due_s: float
    body: bytes
    content_type: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record for `events.raw` itself, past the gateway's checks, and the reason expected for it."""

    due_s: float
    key: bytes
    value: bytes | None
    reason: Reason


Item = Event | Truth | Malformed | BadRecord


class Feed(Protocol):
    """A source of items in the order of their time."""

    def take(self, until_s: float) -> list[Item]:
        """Return the items due before `until_s` that were not taken yet."""
        ...

    def pending(self) -> list[Item]:
        """End the feed: begin no new events, and return what is still due (labels, retries)."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever come again."""
        ...
