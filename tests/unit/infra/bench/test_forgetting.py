"""What increments forget, counted as the papers do, on streams that are what they say; what comes back."""

from pathlib import Path

import pytest
import torch

from infra.bench.train import arriving, forgetting, recurring
from infra.bench.train.arriving import Arriving
from infra.bench.train.forgetting import Course
from infra.bench.train.worlds import World
from schemas.errors import Fatal
from tests.data import data_folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


TABLE = [[90.0], [96.0, 80.0], [91.0, 82.0, 70.0]]


def test_forgetting_is_the_best_before_less_the_end() -> None:
    """Of two old parts one lost five points since its best, the other won two; the newest is not asked."""
    assert forgetting.forgetting(TABLE) == pytest.approx((5 - 2) / 2)


def test_what_dropped_is_counted_by_rows() -> None:
    """Since it was new one part won a point on 30 rows, the other two on 10."""
    assert forgetting.dropped(TABLE, [30, 10, 99]) == pytest.approx((-1 * 30 - 2 * 10) / 40)


@pytest.mark.parametrize("stream", [arriving.intents, arriving.gases])
def test_a_stream_has_five_increments_of_rows_that_are_not_measured_on(stream: object) -> None:
    """Six parts in order of time; no row is in two of them or on both sides."""
    assert callable(stream)
    found: Arriving = stream(data_folder(), 3)
    assert len(found.parts) == 6
    rows = [row for part in found.parts for row in (*part.rows, *part.held_out)]
    assert len({(row.source, row.id) for row in rows}) == len(rows)
    times = [row.time for part in found.parts for row in part.rows]
    assert times == sorted(times)


def test_intents_of_a_part_are_its_own() -> None:
    """75 classes, none of which comes twice; a thousand texts are enough of a mix to be shuffled."""
    found = arriving.intents(data_folder(), 1)
    classes = [{row.label for row in part.rows} for part in found.parts]
    assert sum(map(len, classes)) == len(set.union(*classes)) == 75
    assert [{row.label for row in part.held_out} for part in found.parts] == classes


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """The file and the option."""
    with pytest.raises(Fatal, match=r"five_domains\.json cannot be read .*--data"):
        arriving.intents(tmp_path, 1)


def test_a_stream_goes_the_trainers_way_and_leaves_no_releases(tmp_path: Path) -> None:
    """Readings: the remedies forget less than none does, and every increment is told of."""
    stream = arriving.gases(data_folder(), 1)
    ours, naive = (forgetting.course(stream, variant, tmp_path) for variant in (forgetting.OURS, "naive"))
    assert ours.forgetting <= 1.0 < naive.forgetting
    assert len(ours.reasons) == ours.released == 5
    assert [len(row) for row in ours.accuracies] == [1, 2, 3, 4, 5, 6]
    assert not list((tmp_path / "releases").glob("*/*"))
    assert forgetting.figures([ours, naive])["forgetting"] == ours.forgetting


def test_the_worst_task_is_at_the_top() -> None:
    """The mean over seeds of each task, then the larger one."""
    made = [
        Course(
            task=task, variant=forgetting.OURS, seed=seed, accuracies=[], forgetting=lost, dropped=0.0,
            accuracy=0.0, newest=0.0, released=5, reasons=[], seconds=0.0,
        )
        for task, seed, lost in (("a", 1, 0.1), ("a", 2, 0.3), ("b", 1, 0.9), ("b", 2, 0.1))
    ]  # fmt: skip
    found = forgetting.figures(made)
    assert found["forgetting"] == 0.5
    assert found["tasks"]["a"][forgetting.OURS]["forgetting"] == {"mean": 0.2, "sd": 0.1}


def test_what_came_back_is_found_and_not_trained(tmp_path: Path) -> None:
    """The same return twice: version 1 again, and a third version without recall."""
    brought, trained = recurring.returns(World("readings", 1), tmp_path)
    assert (brought.version, trained.version) == (1, 3)
    assert brought.released and "training" not in brought.steps
