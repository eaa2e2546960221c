"""One stream's operators in one partition: consumes its decoded events, produces clean ones.

[dropped before?] → normalise → [near-duplicates, count window] → remember.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.clean import Clean
from schemas.config import Stream
from schemas.raw import PAYLOADS, RawEvent
from streams.operators.batch import Tally
from streams.operators.copies import Copies, Memory
from streams.operators.count_windows import CountWindows
from streams.operators.dedupe import Dedupe
from streams.operators.normalise import Normalise


class Cleaner:
    """The state and the configured steps of one stream; `memories` are by their names in the changelog."""

    __slots__ = (
        "adds",
        "copies",
        "dedupe",
        "limit",
        "long_ago",
        "memories",
        "name",
        "normalise",
        "rekey",
        "shape",
        "stream",
        "tally",
        "windows",
    )

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = name
        self.stream = stream
        self.shape = PAYLOADS[stream.kind]
        self.limit = stream.clean.max_bytes
        self.rekey = stream.dedupe.rekey
        self.normalise = Normalise(name, stream)
        self.dedupe = Dedupe(stream.dedupe.window)
        looks = stream.dedupe.content or stream.dedupe.near
        self.copies = Copies(name, stream) if looks else None
        self.windows = CountWindows(stream.clean.window) if stream.clean.window else None
        self.adds = self.copies is not None or self.windows is not None
        self.memories: dict[str, Memory] = {name: self.dedupe}
        if self.copies is not None:
            self.memories |= self.copies.memories
        self.long_ago: set[bytes] = set()
        self.tally = Tally()

    def by(self, stream: Stream, now: datetime) -> "Cleaner":
        """Return who cleans by another configuration of the stream, with what this one remembers.

        Readings and windows are kept, fingerprints too; what a longer window would still hold is forgotten.
        """
        if stream == self.stream:
            return self
        made = Cleaner(self.name, stream)
        made.normalise.history = self.normalise.history
        if made.windows is not None and self.windows is not None:
            made.windows.restore(self.windows.snapshot())
        if stream.dedupe == self.stream.dedupe:
            made.dedupe, made.copies, made.memories = self.dedupe, self.copies, self.memories
            return made
        if stream.dedupe.window == self.stream.dedupe.window:
            made.dedupe = made.memories[self.name] = self.dedupe  # there may be millions
        for name, memory in made.memories.items():
            memory.advance(now.timestamp())
            if name in self.memories and memory is not self.memories[name]:
                memory.restore(self.memories[name].snapshot())
        return made

    def look_up(self, events: Sequence[RawEvent], keys: Sequence[bytes]) -> None:
        """Ask the large memories once for all of a batch's events, whose fingerprints are `keys`."""
        self.long_ago = self.dedupe.seen_long_ago(keys)
        if self.copies is not None:
            self.copies.look_up(events)

    def completed(self, event: RawEvent, clean: Clean) -> Clean | None:
        """Return an accepted event with what its stream adds; None for a near-duplicate to be dropped."""
        if self.copies is not None:
            flagged = self.copies.flagged(event, clean)
            if flagged is None:
                return None
            clean = flagged
        if self.windows is not None:
            window = self.windows.add(clean.source, clean.values)
            clean = msgspec.structs.replace(clean, window=window)
        return clean
