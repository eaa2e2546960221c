"""The demo's traffic: consumes a seed and the mix of the present phase, produces a schedule of shop requests.

Pure: no clock, no network. Arrivals are a Poisson process; of the events some are sent twice (a client that
retries), some occurred long before they are sent, and each one's ground truth follows 2 to 4 seconds later,
now and then far out of order.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final

from infra.demo.attacks import payload
from infra.demo.bad import bad_record, malformed_request
from infra.demo.feed import Event, Item, Truth
from infra.demo.shop import attacked_request, normal_request
from schemas.record import Identity, Kind

NORMAL: Final = "norm"
SOURCES: Final = ("shop-web-1", "shop-web-2", "shop-ios", "shop-partners")


@dataclass(frozen=True)
class Mix:
    """What share of the events each attack class has; the rest is normal."""

    attacks: Mapping[str, float]

    def draw(self, random: Random) -> str:
        """Return the label of the next event."""
        point = random.random()
        for label, share in self.attacks.items():
            point -= share
            if point < 0:
                return label
        return NORMAL


# Normal traffic and SQL injection first; then the three classes that the first model has never seen, together
# more than a third of the traffic, so that its accuracy falls by about as much.
BASELINE: Final = Mix({"sqli": 0.30})
DRIFTED: Final = Mix({"sqli": 0.14, "xss": 0.12, "path-traversal": 0.12, "cmdi": 0.12})


@dataclass(frozen=True)
class Disturbance:
    """How often what goes wrong: shares of the events, and seconds."""

    retried: float = 0.05
    late: float = 0.01
    malformed: float = 0.015
    bad_record: float = 0.01
    label_delay_s: tuple[float, float] = (2.0, 4.0)
    label_straggler: float = 0.01
    straggler_delay_s: float = 8.0


@dataclass
class Traffic:
    """The schedule. `run` makes the ids of one run unlike those of another with the same seed."""

    seed: int
    rate: float
    run: str
    stream: str = "requests"
    mix: Mix = BASELINE
    disturbance: Disturbance = Disturbance()
    exhausted: bool = field(default=False, init=False)
    _random: Random = field(init=False, repr=False)
    _clock_s: float = field(default=0.0, init=False)
    _queue: list[tuple[float, int, Item]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._order = count()
        self._ids = count(1)
        self._clock_s = self._random.expovariate(self.rate)

    def take(self, until_s: float) -> list[Item]:
        """Return the items due before `until_s`; new events follow the mix as it is now."""
        while not self.exhausted and self._clock_s < until_s:
            self._arrive(self._clock_s)
            self._clock_s += self._random.expovariate(self.rate)
        due = []
        while self._queue and self._queue[0][0] < until_s:
            due.append(heapq.heappop(self._queue)[2])
        return due

    def pending(self) -> list[Item]:
        """End the arrivals and return what is still due: labels and retries."""
        self.exhausted = True
        rest = [item for _, _, item in sorted(self._queue)]
        self._queue.clear()
        return rest

    def history(self, events: int) -> list[Event]:
        """Return events alone, without disturbances: what the first model learns from."""
        made = []
        for _ in range(events):
            made.append(self._event(self._clock_s, late=False))
            self._clock_s += self._random.expovariate(self.rate)
        return made

    def _arrive(self, at_s: float) -> None:
        random, odds = self._random, self.disturbance
        event = self._event(at_s, late=random.random() < odds.late)
        self._push(event)
        delay_s = random.uniform(*odds.label_delay_s)
        if random.random() < odds.label_straggler:
            delay_s += random.expovariate(1 / odds.straggler_delay_s)
        self._push(Truth(at_s + delay_s, event.identity, event.stream, event.label))
        if random.random() < odds.retried:
            self._push(self._retry(event, at_s + random.uniform(0.05, 3.0)))
        if random.random() < odds.malformed:
            self._push(malformed_request(random, at_s, self.run, next(self._ids)))
        if random.random() < odds.bad_record:
            self._push(bad_record(random, at_s, self.run, next(self._ids)))

    def _event(self, at_s: float, *, late: bool) -> Event:
        random = self._random
        label = self.mix.draw(random)
        if label == NORMAL:
            data = normal_request(random)
        else:
            data = attacked_request(random, label, payload(random, label))
        return Event(
            due_s=at_s,
            identity=Identity(random.choice(SOURCES), f"{self.run}-{next(self._ids):06d}"),
            stream=self.stream,
            kind=Kind.API,
            data=data,
            label=label,
            occurred_s=at_s - random.uniform(5400, 10800) if late else at_s,
        )

    def _retry(self, event: Event, at_s: float) -> Event:
        return Event(
            at_s,
            event.identity,
            event.stream,
            event.kind,
            event.data,
            event.label,
            event.occurred_s,
            copy=True,
        )

    def _push(self, item: Item) -> None:
        heapq.heappush(self._queue, (item.due_s, next(self._order), item))
