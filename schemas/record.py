"""What every contract shares: where a record lies in Kafka, and the kinds of events there are."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple, Protocol

import msgspec


class Kind(StrEnum):
    """The three kinds of events that Headrace understands."""

    SENSOR = "sensor"
    API = "api"
    LOG = "log"


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone; a naive one is refused, and UTC is written."""


class Coordinates(msgspec.Struct, frozen=True, order=True, gc=False):
    """The place of one record: unique for ever within one Kafka cluster.

    Of what was read from a file: its URI as the topic, the partition where it was cleaned, the line from 1.
    """

    topic: str
    partition: int
    offset: int


class Identity(NamedTuple):
    """Who an event is: CloudEvents' own pair, unique per source."""

    source: str
    id: str


class Incoming(Protocol):
    """A record as an engine hands it to an operator; aiokafka's own record has this shape already."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, as the broker or the producer stamped it."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Outgoing(NamedTuple):
    """A record that an operator wants written. `topic` is the name in `schemas.topics`, without a prefix.

    `partition` None leaves the choice to the key's hash (murmur2, as every Kafka client).
    """

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the records on Headrace's own topics: immutable, named fields only, unknown fields refused."""
