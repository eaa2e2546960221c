import pytest

from infra.demo.feed import BadRecord, Event, Item, Malformed, Truth
from infra.demo.traffic import BASELINE, DRIFTED, Disturbance, Traffic


def _taken(seed: int = 3, seconds: float = 60.0, **settings: object) -> list[Item]:
    return Traffic(seed, 60.0, "run", **settings).take(seconds)  # type: ignore[arg-type]


def test_the_seed_decides() -> None:
    """The same seed gives the same schedule, another seed another one."""
    assert _taken(3) == _taken(3)
    assert _taken(3) != _taken(4)


def test_slicing_changes_nothing() -> None:
    """Taking a minute in one or in many slices gives the same items in the same order."""
    sliced = Traffic(3, 60.0, "run")
    parts = [item for step in range(600) for item in sliced.take((step + 1) / 10)]
    assert parts == _taken(3, 60.0)


def test_items_come_in_order_and_at_the_rate() -> None:
    """Items are sorted by their time, and events arrive at the rate asked for."""
    items = _taken()
    due = [item.due_s for item in items]
    assert due == sorted(due)
    first_sent = [item for item in items if isinstance(item, Event) and not item.copy]
    assert len(first_sent) == pytest.approx(3600, rel=0.08)


def test_copies_repeat_an_event() -> None:
    """A retried event comes later under its own identity, with the content and time of the first."""
    items = _taken()
    first = {item.identity: item for item in items if isinstance(item, Event) and not item.copy}
    copies = [item for item in items if isinstance(item, Event) and item.copy]
    assert len(copies) > 100
    for copy in copies:
        original = first[copy.identity]
        assert (copy.data, copy.occurred_s) == (original.data, original.occurred_s)
        assert copy.due_s > original.due_s


def test_labels_follow_and_some_overtake() -> None:
    """Each event has one label, 2 to 4 seconds later for most, and labels are not in the events' order."""
    traffic = Traffic(3, 60.0, "run")
    items = [*traffic.take(60), *traffic.pending()]
    events = {item.identity: item for item in items if isinstance(item, Event) and not item.copy}
    truths = [item for item in items if isinstance(item, Truth)]
    assert sorted(truth.identity for truth in truths) == sorted(events)
    delays = [truth.due_s - events[truth.identity].due_s for truth in truths]
    assert min(delays) >= 2.0
    assert sum(delay <= 4.0 for delay in delays) / len(delays) > 0.97
    order = [events[truth.identity].due_s for truth in truths]
    assert order != sorted(order)


def test_the_mix_decides_the_classes() -> None:
    """Before the drift there is normal traffic and SQL injection alone; after it all five classes."""
    traffic = Traffic(3, 60.0, "run")
    before = {item.label for item in traffic.take(30) if isinstance(item, Event)}
    traffic.mix = DRIFTED
    traffic.take(40)  # retries of earlier events are still among these
    after = {item.label for item in traffic.take(70) if isinstance(item, Event)}
    assert before == {"norm", *BASELINE.attacks}
    assert after == {"norm", *DRIFTED.attacks}


def test_some_events_are_late() -> None:
    """Late events occurred long before they are sent; the others when they are due."""
    events = [item for item in _taken() if isinstance(item, Event) and not item.copy]
    late = [event for event in events if event.occurred_s < event.due_s]
    assert 10 < len(late) < 80
    assert all(event.due_s - event.occurred_s > 3600 for event in late)


def test_bad_input_is_of_many_kinds() -> None:
    """Malformed requests and bad records each come with many different reasons."""
    items = _taken(seconds=300)
    assert len({item.reason for item in items if isinstance(item, Malformed)}) >= 12
    assert len({item.reason for item in items if isinstance(item, BadRecord)}) >= 12


def test_history_has_no_disturbances() -> None:
    """History is events alone, as many as asked for, none of them twice or late."""
    events = Traffic(3, 60.0, "run").history(500)
    assert len({event.identity for event in events}) == 500
    assert all(event.occurred_s == event.due_s for event in events)


def test_pending_ends_the_feed() -> None:
    """After `pending` nothing comes any more."""
    traffic = Traffic(3, 60.0, "run", disturbance=Disturbance(retried=1.0))
    traffic.take(5)
    assert any(isinstance(item, Truth) for item in traffic.pending())
    assert traffic.exhausted
    assert traffic.take(100) == []
