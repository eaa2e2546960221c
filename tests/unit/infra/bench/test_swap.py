"""The check of `bench swap`: it sees what is lost, doubled, and answered by the wrong version."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from infra.bench.swap.check import entries, verdict
from infra.bench.swap.models import label_of
from schemas.prediction import Prediction
from schemas.record import Coordinates
from schemas.release import Swap

NOW = datetime(2026, 3, 14, tzinfo=UTC)


def _prediction(offset: int, version: int, label: str = "", partition: int = 0) -> Prediction:
    return Prediction(
        stream="swapped", source="a", id=f"{partition}-{offset}",
        event=Coordinates("events.clean", partition, offset), raw=Coordinates("events.raw", 0, offset),
        event_time=NOW, label=label or f"busy-v{version}", score=1.0, model="swapped", version=version,
        sha256=f"{version}" * 64, predicted_at=NOW,
    )  # fmt: skip


def _swap(offset: int, version: int, partition: int = 0, outcome: str = "answered") -> Swap:
    return Swap(
        model="swapped", stream="swapped", version=version, sha256=f"{version}" * 64, worker="w",
        first_offsets={f"events.clean:{partition}": offset}, swapped_at=NOW, outcome=outcome,
    )  # fmt: skip


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_a_run_without_a_fault_has_none(lengths: list[int]) -> None:
    """Each version answers its stretch of offsets, and the ledger says where each stretch begins."""
    predictions, swaps, offset = [], [], 0
    for number, length in enumerate(lengths):
        swaps.append(_swap(offset, 1 + number % 2))
        predictions += [_prediction(offset + n, 1 + number % 2) for n in range(length)]
        offset += length
    sent = [prediction.id for prediction in predictions]
    assert verdict(sent, predictions, reversed(swaps), label_of) == (0, 0, 0)


def test_each_fault_is_seen() -> None:
    """A missing answer, one twice, another version, another version's label, one before the ledger begins."""
    swaps = [_swap(10, 1), _swap(20, 2), _swap(5, 2, outcome="swapped"), _swap(0, 1, partition=1)]
    good = [_prediction(offset, 1 if offset < 20 else 2) for offset in range(10, 30)]
    sent = [prediction.id for prediction in good]
    assert verdict(sent, good, swaps, label_of) == (0, 0, 0)
    assert verdict([*sent, "gone"], good, swaps, label_of) == (1, 0, 0)
    assert verdict(sent, [*good, good[3]], swaps, label_of) == (0, 1, 0)
    stale = msgspec.structs.replace(good[-1], version=1, label="busy-v1")
    assert verdict(sent, [*good[:-1], stale], swaps, label_of) == (0, 0, 1)
    mislabelled = msgspec.structs.replace(good[-1], label="busy-v1")
    assert verdict(sent, [*good[:-1], mislabelled], swaps, label_of) == (0, 0, 1)
    early = _prediction(9, 1)
    assert verdict([*sent, early.id], [*good, early], swaps, label_of) == (0, 0, 1)
    assert entries(swaps) == {"events.clean:0": [(10, 1), (20, 2)], "events.clean:1": [(0, 1)]}
