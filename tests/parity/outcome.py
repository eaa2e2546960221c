"""What an engine made of the input, in a form that can be compared with another's."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from infra.runtime.kafka.partitioner import partition_of
from schemas import codec, topics
from schemas.clean import Clean
from schemas.copies import Copies
from schemas.dead import Dead
from tests.parity.inputs import PARTITIONS


@dataclass
class Outcome:
    """Clean events by key in their order, those of stray sources without order; rejections; counts."""

    clean: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    stray: Counter[str] = field(default_factory=Counter)
    dead: list[Any] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    remembered: Counter[str] = field(default_factory=Counter)

    @property
    def accounted(self) -> int:
        """Return how many of the published records something is known of."""
        return self.accepted.total() + self.dropped.total() + len(self.dead)

    @property
    def is_whole(self) -> bool:
        """Tell whether all is there that is counted: brokers mark a transaction topic by topic."""
        return sum(map(len, self.clean.values())) + self.stray.total() == self.accepted.total()

    def take(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        """Take in a record of an output topic, named without its prefix."""
        if topic == topics.CLEAN.name:
            self._take_clean(codec.decode(value, Clean), partition)
        elif topic == topics.DEAD.name:
            dead = codec.decode(value, Dead)
            place = (dead.raw.partition, dead.raw.offset)
            self.dead.append((place, dead.reason, dead.field, dead.original, dead.key, dead.headers, key))
        elif topic == topics.COPIES.name:
            copies = codec.decode(value, Copies)
            self.accepted[copies.stream] += copies.accepted
            self.dropped[copies.stream] += copies.dropped
        elif topic == topics.DEDUPE_LOG.name:
            entries = msgspec.msgpack.decode(value, type=list[tuple[str, float, int, bytes]])
            for name, _, _, packed in entries:
                self.remembered[f"{name}/{partition}"] += len(packed) // 16

    def sorted(self) -> "Outcome":
        """Return it with the rejections in the order of the input."""
        self.dead.sort(key=lambda letter: letter[0])
        return self

    def _take_clean(self, clean: Clean, partition: int) -> None:
        assert partition == partition_of(clean.source.encode(), PARTITIONS)
        said = msgspec.to_builtins(clean)
        if clean.source.startswith("stray"):  # which of the copies came first is the brokers' affair
            said.pop("raw")
            self.stray[str(sorted(said.items()))] += 1
            return
        said["raw"].pop("topic")  # has the installation's prefix
        self.clean[clean.source].append(said)


def outcome(records: Iterable[tuple[str, int, bytes | None, bytes]]) -> Outcome:
    """Return the outcome of `(topic, partition, key, value)`."""
    found = Outcome()
    for record in records:
        found.take(*record)
    return found.sorted()
