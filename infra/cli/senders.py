"""The two ways of `headrace publish`: rows in, records on Kafka or requests to the gateway out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

from infra.cli.rows import Row
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.envelope import decode_event, identity_of
from schemas.errors import Fatal, Reason, Rejected
from schemas.label import Label
from schemas.raw import RawEvent
from schemas.record import Kind, Outgoing
from serving.client import Client
from serving.gateway.bindings import Received
from serving.gateway.judge import Judge


class Labelled(NamedTuple):
    """An accepted event with its truth."""

    event: RawEvent
    label: str


@dataclass
class Sent:
    """What became of one chunk of rows."""

    accepted: int = 0
    labels: list[Labelled] = field(default_factory=list)
    refused: list[tuple[Row, Rejected]] = field(default_factory=list)


class Sender(Protocol):
    """A way to `events.raw`. With `unchecked` nothing is judged on this side."""

    unchecked: bool

    async def send(self, rows: Sequence[Row], default_source: str) -> Sent:
        """Send rows; return once all are acknowledged."""
        ...

    async def send_labels(self, labels: Sequence[Labelled], *, by: str) -> int:
        """Send the truth about events; return how many were taken."""
        ...


class KafkaSender:
    """Straight to Kafka, judged here as the gateway would."""

    def __init__(self, settings: Settings, publisher: Publisher, *, unchecked: bool) -> None:
        self.unchecked = unchecked
        self._settings = settings
        self._publisher = publisher
        self._judge = Judge(settings.config.streams)

    async def send(self, rows: Sequence[Row], default_source: str) -> Sent:
        sent = Sent()
        records = []
        for row in rows:
            if self.unchecked:
                source = identity_of(row.event)[0] or default_source
            else:
                try:
                    event = self._judge.judge(Received(row.event))
                except Rejected as error:
                    sent.refused.append((row, error))
                    continue
                source = event.source
                if row.label:
                    sent.labels.append(Labelled(event, row.label))
            records.append(Outgoing(topics.RAW.name, source.encode(), row.event))
        sent.accepted = len(await self._publisher.send_all(records))
        return sent

    async def send_labels(self, labels: Sequence[Labelled], *, by: str) -> int:
        records = [_label_record(label) for label in _labels(self._settings, labels, by)]
        return len(await self._publisher.send_all(records))


class GatewaySender:
    """Over HTTP; the gateway judges."""

    def __init__(self, settings: Settings, client: Client, *, unchecked: bool) -> None:
        self.unchecked = unchecked
        self._settings = settings
        self._client = client

    async def send(self, rows: Sequence[Row], default_source: str) -> Sent:
        receipt = await self._client.publish(row.event for row in rows)
        sent = Sent(accepted=len(receipt.accepted))
        for refusal in receipt.refused:
            reason = Reason(refusal.reason)
            sent.refused.append((rows[refusal.index], Rejected(reason, refusal.message, refusal.field)))
        for one in receipt.accepted:
            row = rows[one.index]
            if row.label:
                sent.labels.append(Labelled(decode_event(row.event, ()), row.label))
        return sent

    async def send_labels(self, labels: Sequence[Labelled], *, by: str) -> int:
        refused = await self._client.label(_labels(self._settings, labels, by))
        return len(labels) - len(refused)


def gateway_url(settings: Settings) -> str:
    """Return where the gateway of this data folder listens.

    Raises:
        Fatal: none runs.
    """
    record = settings.home / "gateway.json"
    if not record.is_file():
        raise Fatal(f"no gateway runs in {settings.home}; start it with `headrace up`, or use --via kafka")
    url: str = msgspec.json.decode(record.read_bytes())["url"]
    return url


def stream_of(settings: Settings, event: RawEvent) -> str:
    """Return an event's stream: the one it names, else the first of its kind."""
    return event.stream or _first(settings, event.kind)


def _first(settings: Settings, kind: Kind) -> str:
    return next((name for name, stream in settings.config.streams.items() if stream.kind is kind), "")


def _labels(settings: Settings, labels: Sequence[Labelled], by: str) -> list[Label]:
    now = datetime.now(UTC)
    return [
        Label(
            stream=stream_of(settings, event),
            source=event.source,
            id=event.id,
            label=label,
            labelled_at=now,
            by=by,
        )
        for event, label in labels
    ]


def _label_record(label: Label) -> Outgoing:
    return Outgoing(topics.LABELS.name, label.source.encode(), codec.encode(label))
