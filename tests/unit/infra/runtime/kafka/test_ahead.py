"""Marks beside offsets: whatever comes between, each record is done once, and each stream's in order."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.kafka.ahead import Marks, behind
from schemas.errors import Fatal

PLACE = TopicPartition("events.clean", 0)
STREAMS = ("a", "b", "c")


@dataclass(frozen=True)
class Record:
    """A record of a stream; only its place and its stream matter here."""

    offset: int
    stream: str


def stream_of(record: Any) -> str:
    """Whose record it is."""
    return str(record.stream)


@dataclass
class Worker:
    """What `ExactlyOnce` does with a partition, on a log in memory; `done` is what was committed."""

    log: list[Record]
    done: list[Record] = field(default_factory=list)
    committed: tuple[int, str] = (0, "")
    position: int = 0
    marks: Marks = field(default_factory=lambda: Marks(frozenset(), stream_of))
    scout: int = 0

    def start(self, urgent: frozenset[str]) -> None:
        """Start, or start anew after a crash, with these urgent streams."""
        self.marks = Marks(urgent, stream_of)
        self.position = self.committed[0]
        self.marks.restore(PLACE, *self.committed)
        self.scout = self.marks.to(PLACE)

    def read(self, start: int, most: int) -> list[Record]:
        """The records from an offset on; offsets have gaps."""
        return [record for record in self.log if record.offset >= start][:most]

    def batch(self, most: int) -> None:
        """The next records in their turn."""
        records = self.read(self.position, most)
        if records:
            to = records[-1].offset + 1
            self.done += cast("Any", self.marks.left(PLACE, cast("Any", records)))
            self.committed = cast("Any", self.marks.offset(PLACE, to))
            self.position = to
            self.marks.passed(PLACE, to)

    def ahead(self, most: int, *, lost: bool) -> None:
        """The next records beyond the mark; `lost` ones were taken before a rebalance and dropped."""
        start, records = self.scout, self.read(self.scout, most)
        if not records:
            return
        self.scout = to = records[-1].offset + 1
        if lost:
            return
        if not self.marks.joins(PLACE, start):
            self.scout = self.marks.to(PLACE)
            return
        first = cast("Any", self.marks.first(PLACE, cast("Any", records)))
        if first:
            self.done += first
            self.committed = cast("Any", self.marks.offset(PLACE, self.position, to))
        self.marks.reached(PLACE, to)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.integers(1, 8)),
        st.tuples(st.just("ahead"), st.integers(1, 12)),
        st.tuples(st.just("lost"), st.integers(1, 12)),
        st.tuples(st.just("start"), st.sets(st.sampled_from(STREAMS))),
    ),
    max_size=40,
)


@given(st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(1, 3)), max_size=60), steps)
def test_each_record_is_done_once_in_order(log: list[tuple[str, int]], taken: list[Any]) -> None:
    """Crashes, rebalances and other priorities at any moment: nothing is left out, doubled or overtaken."""
    offset, records = 0, []
    for stream, gap in log:
        offset += gap
        records.append(Record(offset, stream))
    worker = Worker(records)
    worker.start(frozenset("a"))
    for step, much in [*taken, *[("batch", 8)] * len(records)]:
        if step == "batch":
            worker.batch(much)
        elif step == "start":
            worker.start(frozenset(much))
        else:
            worker.ahead(much, lost=step == "lost")
    for stream in STREAMS:
        assert [r for r in worker.done if r.stream == stream] == [r for r in records if r.stream == stream]


def test_urgent_records_come_before_a_backlog() -> None:
    """Of a long log the urgent ones are done first; metadata says so until the position has come there."""
    worker = Worker([Record(n, "a" if n % 10 == 9 else "b") for n in range(100)])
    worker.start(frozenset("a"))
    worker.batch(5)
    worker.ahead(100, lost=False)
    assert [r.offset for r in worker.done[5:]] == list(range(9, 100, 10))
    assert worker.committed == (5, '{"ahead":100,"streams":["a"]}')
    for _ in range(19):
        worker.batch(5)
    assert worker.committed == (100, "")


@pytest.mark.parametrize("metadata", ["", "of others", "[1]", '{"ahead":-1,"streams":[]}', '{"ahead":"x"}'])
def test_foreign_metadata_counts_as_none(metadata: str) -> None:
    """An offset that another client committed has nothing ahead of it."""
    marks = Marks(frozenset("a"), stream_of)
    marks.restore(PLACE, 7, metadata)
    assert marks.to(PLACE) == 7 and marks.moves(PLACE)


def test_names_must_fit_beside_an_offset() -> None:
    """A broker keeps 4096 bytes: more is said at the start, not at the first commit."""
    with pytest.raises(Fatal, match="shorten"):
        Marks(frozenset(f"{n:0100}" for n in range(60)), stream_of)


def test_a_backlog_is_more_than_a_round() -> None:
    """What the next round takes anyway is none."""
    assert not behind([40, 24], 64) and behind([40, 25], 64)
