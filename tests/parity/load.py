"""What is published without a pause while cleaning moves between engines, and what must come of it."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Settings
from schemas import topics
from schemas.raw import structured
from schemas.record import Kind
from tests.parity.outcome import Outcome

EVERY_S = 0.05
AT_ONCE = 10
REJECTED = b"not json"


@dataclass
class Load:
    """Publishes without a pause: events, copies of any of the earlier ones, and what is rejected."""

    settings: Settings
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    values: list[bytes] = field(default_factory=list)
    copies: int = 0
    rejected: int = 0

    @property
    def published(self) -> int:
        """Return how many records were published."""
        return len(self.values) + self.copies + self.rejected

    async def run(self) -> None:
        """Publish until cancelled; what was begun is flushed."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.endpoints.kafka, linger_ms=5)
        async with connected(producer):
            try:
                while True:
                    for key, value in self._next():
                        await producer.send(self.settings.topic(topics.RAW), value, key)
                    await asyncio.sleep(EVERY_S)
            finally:
                await producer.flush()

    def _next(self) -> list[tuple[bytes, bytes]]:
        made = []
        for _ in range(AT_ONCE):
            kind = self.rng.random()
            if kind < 0.03:
                self.rejected += 1
                made.append((b"%d" % self.rng.randrange(20), REJECTED))
            elif kind < 0.25 and self.values:
                self.copies += 1
                value = self.rng.choice(self.values)
                made.append((str(json.loads(value)["source"]).encode(), value))
            else:
                number = len(self.values)
                reading = {"values": {"level": number % 7}}
                event = structured(f"{number}", f"grid/{number % 20}", Kind.SENSOR, reading, stream="plant")
                self.values.append(json.dumps(event).encode())
                made.append((f"grid/{number % 20}".encode(), self.values[-1]))
        return made


def assert_once(found: Outcome, published: Load) -> None:
    """Each event and each rejection exactly once, and each copy dropped."""
    seen = Counter(event["id"] for events in found.clean.values() for event in events)
    wanted = Counter(str(number) for number in range(len(published.values)))
    assert (seen - wanted, wanted - seen) == (Counter(), Counter())
    places: Sequence[object] = [letter[0] for letter in found.dead]
    assert len(places) == len(set(places)) == published.rejected
    assert found.dropped.total() == published.copies
    assert found.accepted.total() == len(published.values)
