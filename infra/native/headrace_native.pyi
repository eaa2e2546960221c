"""The inner loops of the cleaning stage; `src/lib.rs` says what is where, and why it is not Python."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self, overload

WINDOW: Final[int]

class Record:
    """A record of a block, in the shape of `schemas.record.Incoming`."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]: ...

class RecordBlock(Sequence[Record]):
    """Records of one partition, kept as the bytes that were fetched."""

    @staticmethod
    def parse(
        topic: str,
        partition: int,
        fetched: bytes,
        offset: int,
        aborted: Sequence[tuple[int, int]],
        decompress: Callable[[int, bytes], bytes],
    ) -> RecordBlock:
        """Read what was fetched of a partition from `offset` on; raises ValueError if it is corrupt."""

    @staticmethod
    def has_batch(fetched: bytes) -> bool:
        """Tell whether there is at least one whole record batch."""

    @staticmethod
    def of(records: Iterable[Any]) -> RecordBlock:
        """Take over records of one partition, whatever engine they come from."""

    @property
    def next_offset(self) -> int: ...
    def values(self) -> list[bytes | None]:
        """Return the records' values, None for tombstones."""

    def offsets(self) -> list[int]: ...
    def since(self, offset: int) -> RecordBlock:
        """Return the records from an offset on."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> RecordBlock: ...

class Outbox:
    """Records of one topic, each with a key and without headers."""

    def __init__(self, topic: str) -> None: ...
    @property
    def topic(self) -> str: ...
    def append(self, key: bytes, value: bytes) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[bytes, bytes]: ...
    def lay(self, partitions: int, limit: int, now_ms: int) -> list[RecordBatch]:
        """Lay the records into batches of at most `limit` bytes, by the hash of their keys."""

class RecordBatch:
    """One record batch for one partition, complete but for the producer's identity and the checksum."""

    @property
    def partition(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def size(self) -> int: ...
    def sealed(self, producer_id: int, epoch: int, sequence: int, transactional: bool) -> bytes: ...

class Recent:
    """The last `WINDOW` readings of one name of one source, and the limits derived from them."""

    low: float
    high: float
    def __init__(
        self, readings: Sequence[float] = (), count: int = 0, low: float = ..., high: float = ...
    ) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def readings(self) -> list[float]: ...
    @property
    def last(self) -> float: ...
    def add(self, reading: float) -> int: ...

class Parsed:
    """A block's events, as far as they are plain."""

    @property
    def others(self) -> list[int]: ...
    def keys(self, plan: int) -> list[bytes]: ...

class FastPath:
    """The plain way of the sensor streams of one lane."""

    def __new__(
        cls,
        *,
        unnamed: int | None,
        home_of: Callable[[str], int] | None,
        partitions: int,
        max_name: int,
        min_readings: int,
        renewal: int,
    ) -> Self: ...
    def add_plan(
        self,
        name: str,
        *,
        max_bytes: int,
        rekey: str,
        ranges: Sequence[tuple[str, float, float]],
        remembers: bool,
        judges: bool,
        hampel: float | None,
        dedupe: Any,
        history: Callable[[str], dict[str, Recent]],
        renewed: Callable[[Sequence[float]], tuple[float, float]],
    ) -> None: ...
    def parse(self, block: RecordBlock, met: int) -> Parsed: ...
    def clean(
        self,
        parsed: Parsed,
        at: int,
        outbox: Outbox,
        long_ago: Sequence[set[bytes]],
        bounds: Sequence[tuple[int, int]],
    ) -> int: ...
    def tally(self, plan: int) -> tuple[int, int, int]: ...

class RiseDetector:
    """The sum of evidence for a rise of an error rate; `streams.detectors.ensemble` tells the maths."""

    def __init__(self, threshold: float, fall: float) -> None: ...
    @property
    def drift_detected(self) -> bool: ...
    @property
    def unsettled(self) -> bool:
        """Whether there was a detection and what came after it has not settled yet."""

    @property
    def seen(self) -> tuple[int, int]:
        """Bits and errors since the newest fall."""

    @property
    def levels(self) -> list[list[int]]: ...
    def update(self, error: bool) -> None: ...
    def update_many(self, errors: bytes) -> int | None:
        """Take bits, one a byte, up to the first detection; return its index."""

    def restore(self, levels: Sequence[Sequence[int]], detected: bool, unsettled: bool) -> None:
        """Go on from what another had; raises ValueError if it had no such levels."""
