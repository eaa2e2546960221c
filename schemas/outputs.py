"""What an operator puts out of one batch: many records of one topic, kept packed, and some of others.

Consumes `Outgoing` records one by one, or many at once from native code that writes to `packed`; produces
them as a sequence again, or as record batches where an engine can send these (`infra.runtime.kafka.packed`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from headrace_native import Outbox

from schemas.record import Outgoing


class Outputs(Sequence[Outgoing]):
    """Outputs of a batch; those of `topic` come first, in their order, then the others in theirs."""

    def __init__(self, topic: str) -> None:
        self.packed = Outbox(topic)
        self.others: list[Outgoing] = []

    def append(self, record: Outgoing) -> None:
        """Add a record."""
        topic, key, value, partition, headers = record
        if topic == self.packed.topic and key is not None and partition is None and not headers:
            self.packed.append(key, value)
        else:
            self.others.append(record)

    def extend(self, records: Iterable[Outgoing]) -> None:
        """Add records."""
        for record in records:
            self.append(record)

    def __len__(self) -> int:
        return len(self.packed) + len(self.others)

    @overload
    def __getitem__(self, index: int) -> Outgoing: ...
    @overload
    def __getitem__(self, index: slice) -> list[Outgoing]: ...
    def __getitem__(self, index: int | slice) -> Outgoing | list[Outgoing]:
        if isinstance(index, slice):
            return list(self)[index]
        at = index + len(self) if index < 0 else index
        packed = len(self.packed)
        return self._packed(at) if 0 <= at < packed else self.others[at - packed]

    def __iter__(self) -> Iterator[Outgoing]:
        for at in range(len(self.packed)):
            yield self._packed(at)
        yield from self.others

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list: it grows

    def _packed(self, at: int) -> Outgoing:
        key, value = self.packed[at]
        return Outgoing(self.packed.topic, key, value)
