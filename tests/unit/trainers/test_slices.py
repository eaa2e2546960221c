"""Where a model is weakest is told by source and by time, and only of rows enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.trainers import samples
from trainers.dataset import from_memory
from trainers.paired import Paired
from trainers.row import Row
from trainers.slices import wilson, worst


def _rows(count: int) -> list[Row]:
    data = from_memory(samples.readings(1, 5 * count))
    rows = (data.recent + data.recent_held_out)[:count]
    return sorted(rows, key=lambda row: row.time)


def test_the_worst_source_and_span_are_told() -> None:
    """One source of three is always wrong, as is the last tenth of the time; a tiny source is not told."""
    from msgspec.structs import replace

    rows = [replace(row, source="abc"[number % 3]) for number, row in enumerate(_rows(600))]
    rows[:20] = [replace(row, source="tiny") for row in rows[:20]]
    right = np.array([row.source not in {"b", "tiny"} for row in rows])
    right[540:] = False
    told = worst(rows, Paired(right, np.ones(600, dtype=bool)))
    assert told[0].by == "source" and told[0].name == "b" and told[0].accuracy == 0
    assert "tiny" not in {one.name for one in told}
    span = next(one for one in told if one.by == "time")
    assert span.accuracy == 0 and span.rows == 60 and span.champion == 1
    assert span.name.startswith(f"{rows[540].time:%Y-%m-%dT%H:%M:%S}")
    assert "champion 1.000" in str(span)


def test_one_source_is_no_slice_and_few_rows_are_none() -> None:
    """With one source only time is told; a hundred rows make no span of thirty."""
    rows = _rows(400)
    assert {one.by for one in worst(rows, Paired(np.ones(400, dtype=bool)))} == {"time"}
    assert worst(rows[:100], Paired(np.ones(100, dtype=bool))) == []


@given(st.integers(1, 500), st.data())
def test_wilsons_interval_is_scipys(rows: int, data: st.DataObject) -> None:
    """The interval equals scipy's for every share."""
    from scipy.stats import binomtest

    right = data.draw(st.integers(0, rows))
    expected = binomtest(right, rows).proportion_ci(0.95, "wilson")
    assert wilson(right, rows) == pytest.approx((expected.low, expected.high), abs=2e-5)
