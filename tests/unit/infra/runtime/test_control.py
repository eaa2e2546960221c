"""Operators' orders as a worker sees them: the newest counts, and a valve opens and closes by it."""

from datetime import UTC, datetime
from pathlib import Path

from aiokafka import TopicPartition

import serving.consumer
import streams.apps.clean
import streams.sink.worker
from infra.runtime.control import GROUPS, Controls, Valve
from infra.runtime.settings import Endpoints, Settings, load_config
from schemas import codec, topics
from schemas.control import Action, Control, Scope, Stage
from streams.operators.carried import Original

AT = datetime(2026, 3, 14, tzinfo=UTC)
PLACES = frozenset({TopicPartition("events.raw", 0), TopicPartition("events.raw", 1)})


def controls(tmp_path: Path) -> Controls:
    """Orders of an installation that has none yet, read to their end."""
    found = Controls(Settings(tmp_path, load_config({}), Endpoints("", "", "")))
    found.known = True
    return found


def tell(to: Controls, offset: int, scope: Scope, name: str, action: Action) -> None:
    """Let an order be read."""
    order = Control(scope=scope, name=name, action=action, by="a@b", at=AT)
    to.take(Original(topics.CONTROL.name, 0, offset, 0, order.key().encode(), codec.encode(order)))


class Consumer:
    """The part of a consumer that a valve works on, as aiokafka keeps it."""

    def __init__(self) -> None:
        self.shut: set[TopicPartition] = set()

    def assignment(self) -> frozenset[TopicPartition]:
        return PLACES

    def paused(self) -> set[TopicPartition]:
        return self.shut

    def pause(self, *partitions: TopicPartition) -> None:
        self.shut = self.shut | set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.shut = self.shut - set(partitions)


def test_the_newest_order_of_a_name_counts(tmp_path: Path) -> None:
    """Pause and resume by name; a reset, or what was read before, changes nothing of it."""
    known = controls(tmp_path)
    tell(known, 0, Scope.STREAM, "requests", Action.PAUSED)
    tell(known, 1, Scope.STREAM, "host", Action.PAUSED)
    tell(known, 2, Scope.STAGE, "clean", Action.PAUSED)
    assert known.paused_streams == {"requests", "host"}
    assert known.resumed_at == -1
    tell(known, 3, Scope.STREAM, "host", Action.RESUMED)
    tell(known, 4, Scope.STAGE, "clean", Action.RESET)
    tell(known, 1, Scope.STREAM, "host", Action.PAUSED)
    assert known.paused_streams == {"requests"}
    assert known.resumed_at == 3
    paused = known.paused(Scope.STAGE, "clean")
    assert paused is not None
    assert paused.by == "a@b"
    assert known.paused(Scope.STAGE, "sink") is None
    assert len(known.orders()) == 4


def test_what_is_no_order_is_passed_over(tmp_path: Path) -> None:
    """A tombstone or foreign bytes on the topic stop no worker."""
    known = controls(tmp_path)
    known.take(Original(topics.CONTROL.name, 0, 0, 0, b"k", None))
    known.take(Original(topics.CONTROL.name, 0, 1, 0, b"k", b'{"hello": 1}'))
    assert known.orders() == []


def test_a_valve_is_closed_until_the_orders_are_known(tmp_path: Path) -> None:
    """A worker that starts while its stage is paused must not take one event."""
    known = controls(tmp_path)
    known.known = False
    valve, consumer = Valve(known, Stage.CLEAN), Consumer()
    valve.apply(consumer)
    assert consumer.shut == PLACES
    known.known = True
    valve.apply(consumer)
    assert consumer.shut == set()


def test_a_valve_follows_its_own_stage(tmp_path: Path) -> None:
    """A paused stage is closed, others and its paused streams go on; held partitions stay closed alone."""
    known = controls(tmp_path)
    held = {TopicPartition("events.raw", 1), TopicPartition("elsewhere", 0)}
    clean, sink = Consumer(), Consumer()
    tell(known, 0, Scope.STAGE, "clean", Action.PAUSED)
    tell(known, 1, Scope.STREAM, "sink", Action.PAUSED)
    Valve(known, Stage.CLEAN).apply(clean)
    Valve(known, Stage.SINK, lambda: held).apply(sink)
    assert clean.shut == PLACES
    assert sink.shut == {TopicPartition("events.raw", 1)}
    tell(known, 2, Scope.STAGE, "clean", Action.RESUMED)
    Valve(known, Stage.CLEAN).apply(clean)
    assert clean.shut == set()


def test_the_stages_are_the_workers_groups() -> None:
    """A reset moves the offsets that the worker really reads by."""
    assert GROUPS == {
        Stage.CLEAN: streams.apps.clean.GROUP,
        Stage.SINK: streams.sink.worker.GROUP,
        Stage.INFERENCE: serving.consumer.GROUP,
    }
