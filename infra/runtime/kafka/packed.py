"""Outputs that are packed already, as batches that aiokafka sends: consumes an `Outbox`, produces builders.

aiokafka asks a batch builder for its bytes once it has given it the producer's identity and the sequence
number; ours has laid the records natively, and only these fields and the checksum are missing.
"""

from collections.abc import Sequence
from time import time
from typing import Final, NamedTuple

from headrace_native import Outbox, RecordBatch

_MILLISECONDS: Final = 1000


class PackedBuilder:
    """A closed builder around a laid batch (the shape of aiokafka's `BatchBuilder`)."""

    def __init__(self, batch: RecordBatch, *, transactional: bool) -> None:
        self._batch = batch
        self._transactional = transactional
        self._identity = (-1, -1, -1)
        self._sealed: bytes | None = None

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._identity = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        if self._sealed is None:  # a batch that is sent again keeps its sequence number
            self._sealed = self._batch.sealed(*self._identity, self._transactional)
        return self._sealed

    def size(self) -> int:
        """Return the size in bytes."""
        return self._batch.size

    def record_count(self) -> int:
        """Return the number of records."""
        return self._batch.count

    def closed(self) -> bool:
        """Nothing can be added."""
        return True

    def close(self) -> None:
        """Do nothing: it is closed."""


class Packed(NamedTuple):
    """A batch for one partition."""

    partition: int
    builder: PackedBuilder


def lay(outbox: Outbox, partitions: int, limit_bytes: int, *, transactional: bool) -> Sequence[Packed]:
    """Lay the records of an outbox into batches, by the hash of their keys; their time is now."""
    now_ms = int(time() * _MILLISECONDS)
    return [
        Packed(batch.partition, PackedBuilder(batch, transactional=transactional))
        for batch in outbox.lay(partitions, limit_bytes, now_ms)
    ]
