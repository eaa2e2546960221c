"""The cleaning of one partition on Flink: record batches in, what became of them out; what is paused waits.

Events of a paused stream wait as they would on `events.parked`, but in the lane's state; what comes while the
stage is paused waits unread. While something of a stream waits, newer events of it join the end of its queue,
paused or not: so nothing overtakes, and each source keeps its order. What may go on is worked off in portions
between the batches that come, faster than these add to it. When the input ends for good, which is how a job
is given up for another engine, what waits goes to `events.parked`, and who cleans next reads it back.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from schemas import topics
from streams.jobs.held import STAGE, Held
from streams.jobs.orders import Paused
from streams.jobs.packing import BATCH_BYTES, batches_of, read
from streams.jobs.state import LaneState
from streams.operators.batch import Batch
from streams.operators.park import Pauses
from streams.operators.pipeline import CleanPipeline

PORTION_BYTES: Final = 4 * BATCH_BYTES
"""Most that is worked off at once: more than one batch that comes can add, to whichever queues."""

_NO_EPOCH: Final = -1
"""On Flink no resumption is waited for: whoever reads such an event back has to look whether it waits on."""


class PausingLane:
    """A partition's pipeline, its state, and what waits. `prefix` is the installation's for topics."""

    def __init__(
        self, pipeline: CleanPipeline, state: LaneState, held: Held, partition: int, prefix: str
    ) -> None:
        self._pipeline = pipeline
        self._state = state
        self._held = held
        self._partition = partition
        self._rekeyed = prefix + topics.REKEYED.name
        self._parked = prefix + topics.PARKED.name

    @property
    def held(self) -> int:
        """Return how many events wait."""
        return self._held.events

    def due(self, paused: Paused) -> bool:
        """Tell whether something waits that may go on."""
        return not paused.stage and any(name not in paused.streams for name in self._held)

    def take(self, topic: str, batch: bytes, now: datetime, paused: Paused) -> Iterator[Batch]:
        """Clean a batch after what waited before it, or let it wait."""
        yield from self.work_off(now, paused)
        if paused.stage or STAGE in self._held:
            self._held.put(STAGE, topic, batch, len(read(topic, self._partition, batch)))
        else:
            yield self._cleaned(topic, batch, now, self._waiting(paused))

    def work_off(self, now: datetime, paused: Paused) -> Iterator[Batch]:
        """Clean a portion of what waits and may go on: oldest first, the stage's before the streams'.

        What waited for the stage came after what waits for a stream, so it can only join that.
        """
        left = PORTION_BYTES
        for name in sorted(self._held):  # STAGE is first
            if paused.stage or name in paused.streams:
                continue
            while left > 0 and name in self._held:
                topic, batch = self._held.take(name)
                left -= len(batch)
                yield self._cleaned(topic, batch, now, self._waiting(paused) - {name})

    def give_up(self, now: datetime) -> Iterator[Batch]:
        """Hand all that waits on to `events.parked`: the streams' own first, as it is older."""
        everything = frozenset(self._pipeline.histories)
        for name in sorted(self._held, reverse=True):
            while name in self._held:
                topic, batch = self._held.take(name)
                yield self._processed(topic, batch, now, everything)

    def _waiting(self, paused: Paused) -> frozenset[str]:
        """Return the streams whose events have to wait, for an order or for older ones."""
        return paused.streams | frozenset(self._held)

    def _cleaned(self, topic: str, batch: bytes, now: datetime, waiting: frozenset[str]) -> Batch:
        """Process a batch, and keep what was parked here instead of in Kafka."""
        found = self._processed(topic, batch, now, waiting)
        for stream, records in found.waiting.items():
            for partition, packed in batches_of(records):
                self._held.put(stream, self._parked, packed, len(read(self._parked, partition, packed)))
        if found.waiting:
            others = found.outgoing.others
            others[:] = [record for record in others if record.topic != topics.PARKED.name]
        return found

    def _processed(self, topic: str, batch: bytes, now: datetime, waiting: frozenset[str]) -> Batch:
        found = self._pipeline.process(
            read(topic, self._partition, batch),
            now,
            rekeyed=topic == self._rekeyed,
            parked=topic == self._parked,
            pauses=Pauses(waiting, _NO_EPOCH),
        )
        changes = [r.value for r in found.outgoing.others if r.topic == topics.DEDUPE_LOG.name]
        self._state.remember(changes, now)
        self._state.keep(self._pipeline, found.by_stream)
        return found
