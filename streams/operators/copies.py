"""What beyond its identity makes an event a copy: consumes decoded events, tells duplicates and likeness.

Content duplicates and near-duplicates of text, for the streams that ask for them. Both remember what was
accepted alone, and their memories go through `dedupe.log` beside the identities', as `NAME#content` and
`NAME#near`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from schemas.clean import Clean
from schemas.config import Stream
from schemas.raw import RawEvent
from streams.operators.content import content_fingerprint
from streams.operators.dedupe import Dedupe
from streams.operators.near_duplicates import NearDuplicates, text_of

CONTENT: Final = "#content"
NEAR: Final = "#near"


class Memory(Protocol):
    """What is remembered for a window of time and restored from the changelog."""

    @property
    def window_s(self) -> float: ...
    @property
    def bucket_s(self) -> float: ...
    def __len__(self) -> int: ...
    def advance(self, now_s: float) -> None: ...
    def delta(self) -> tuple[int, bytes]: ...
    def restore(self, deltas: Iterable[tuple[float, int, bytes]]) -> int: ...
    def snapshot(self) -> list[tuple[float, int, bytes]]: ...


class Copies:
    """Content and near-duplicates of one stream. `memories` is the state, by its names in the changelog."""

    def __init__(self, name: str, stream: Stream) -> None:
        config = stream.dedupe
        self.memories: dict[str, Memory] = {}
        self._content: Dedupe | None = None
        self._near: NearDuplicates | None = None
        self._drop = config.near_action == "drop"
        self._fingerprints: dict[int, bytes | None] = {}
        self._long_ago: set[bytes] = set()
        if config.content:
            self._content = Dedupe(config.window)
            self.memories[name + CONTENT] = self._content
        if config.near:
            window_s = min(config.near_window, config.window)
            self._near = NearDuplicates(config.near, window_s, config.near_texts)
            self.memories[name + NEAR] = self._near

    def look_up(self, events: Sequence[RawEvent]) -> None:
        """Take the fingerprints of a batch's events, and look all of them up at once."""
        if self._content is not None:
            self._fingerprints = {id(event): content_fingerprint(event) for event in events}
            self._long_ago = self._content.seen_long_ago([f for f in self._fingerprints.values() if f])

    def seen(self, event: RawEvent) -> bool:
        """Tell whether an event of the batch that was looked up repeats the content of an accepted one."""
        if self._content is None:
            return False
        found = self._fingerprints[id(event)]
        return found is not None and (self._content.seen(found) or found in self._long_ago)

    def flagged(self, event: RawEvent, clean: Clean) -> Clean | None:
        """Remember an event that is to be accepted; returns it, flagged if its text is nearly another's.

        None when such an event is to be dropped; then nothing is remembered of it.
        """
        if self._near is not None:
            text = text_of(event.data)
            first = self._near.find(event.source, text)
            if first is None:
                self._near.add(event.source, event.id, text)
            elif self._drop:
                return None
            else:
                flags = msgspec.structs.replace(clean.flags, near_duplicate_of=first)
                clean = msgspec.structs.replace(clean, flags=flags)
        if self._content is not None and (found := self._fingerprints[id(event)]) is not None:
            self._content.add(found)
        return clean
