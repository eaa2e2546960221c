"""A search tries what it should, goes on where it was, and never sees the test rows."""

import itertools
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from schemas.errors import Fatal
from trainers.fit import Interrupted
from trainers.recipe import Recipe
from trainers.search.kinds import Pruner, Sampler
from trainers.search.space import Choices, Range, Space, grid
from trainers.search.study import Listener, Search, Tried, Wish
from trainers.tasks.examples import Readings
from trainers.tasks.kinds import Kind
from trainers.tasks.training import Order
from trainers.tasks.work import Surroundings

ORDER = Order(
    kind=Kind.SENSOR_CLASSIFICATION, features=("a", "b"), recipe=Recipe(epochs=3, head_rate=1e-3)
)  # fmt: skip
SPACE: Space = {"head_rate": Range(1e-6, 3e-2, log=True), "batch": Choices((16, 32))}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


def _rows(seed: int, count: int) -> list[Readings]:
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        high = number % 2
        rows.append(
            Readings((chance.gauss(2.0 * high, 1.0), chance.gauss(0.0, 1.0)), "on" if high else "off")
        )
    return rows


ROWS = _rows(1, 160)


def _search(folder: Path, order: Order = ORDER, **wish: Any) -> Search:
    usual: dict[str, Any] = {"space": SPACE, "trials": 6, "pruner": Pruner.OFF}
    usual.update(wish)
    return Search(order, Wish(**usual), ROWS, (), folder)


def _around(folder: Path) -> Surroundings:
    return Surroundings(folder)


@pytest.mark.parametrize("sampler", [Sampler.RANDOM, Sampler.BAYESIAN])
def test_a_search_is_never_worse_than_the_order_itself(sampler: Sampler, tmp_path: Path) -> None:
    """The order's own values come first; the best is the lowest; values are drawn within the space."""
    found = _search(tmp_path, sampler=sampler).run(_around(tmp_path), Listener())
    assert len(found.trials) == 6 and found.ended == "all trials are done"
    assert [trial.is_default for trial in found.trials] == [True] + 5 * [False]
    assert found.trials[0].values == {"head_rate": 1e-3, "batch": 32}
    assert found.best.value == min(trial.value or 0.0 for trial in found.trials)
    assert all(SPACE[name].holds(value) for trial in found.trials for name, value in trial.values.items())
    assert all(len(trial.epochs) == 3 and trial.value == min(trial.epochs) for trial in found.trials)
    assert abs(sum(found.importance.values()) - 1.0) < 0.01


def test_a_grid_is_tried_whole(tmp_path: Path) -> None:
    """Every combination once, however many trials are allowed."""
    space: Space = {"batch": Choices((16, 32)), "epochs": Choices((1, 2))}
    found = _search(tmp_path, sampler=Sampler.GRID, space=space, trials=50).run(_around(tmp_path), Listener())
    tried = sorted(tuple(trial.values.items()) for trial in found.trials)
    assert tried == sorted(tuple(point.items()) for point in grid(space))


def test_a_stopped_search_goes_on(tmp_path: Path) -> None:
    """What it was in the middle of is tried again; in the end there are as many trials as were asked for."""
    steps = itertools.count()

    def after_two_trials() -> bool:
        return next(steps) > 70

    with pytest.raises(Interrupted):
        _search(tmp_path).run(_around(tmp_path), Listener(stop=after_two_trials))
    told: list[Tried] = []
    found = _search(tmp_path).run(_around(tmp_path), Listener(ended=lambda tried, _best: told.append(tried)))
    assert len(found.trials) == 6
    assert 0 < len(told) < 6
    assert sum(trial.is_default for trial in found.trials) == 1
    more = _search(tmp_path, trials=8).run(_around(tmp_path), Listener())
    assert len(more.trials) == 8 and more.trials[:6] == found.trials


def test_what_a_killed_search_was_in_the_middle_of_is_tried_again(tmp_path: Path) -> None:
    """A trial that is still running in the study, and nobody runs it, is laid down again with its values."""
    search = _search(tmp_path)
    abandoned = search._study.ask()
    values: dict[str, Any] = {"head_rate": abandoned.suggest_float("head_rate", 1e-6, 3e-2, log=True)}
    values["batch"] = abandoned.suggest_categorical("batch", [16, 32])
    found = _search(tmp_path).run(_around(tmp_path), Listener())
    assert len(found.trials) == 6
    assert found.trials[0].values == values and found.trials[0].is_default


def test_hopeless_trials_are_ended_early(tmp_path: Path) -> None:
    """A rate that learns nothing is behind the median after two epochs, and is not trained to its end."""
    space: Space = {"head_rate": Choices((1e-2, 1.1e-2, 1.2e-2, 1.3e-2, 1e-6, 1.01e-6, 1.02e-6))}
    order = msgspec.structs.replace(ORDER, recipe=Recipe(epochs=5, head_rate=1e-2))
    search = _search(
        tmp_path, order=order, space=space, trials=14, pruner=Pruner.MEDIAN, sampler=Sampler.RANDOM
    )
    found = search.run(_around(tmp_path), Listener())
    early = [trial for trial in found.trials if trial.state == "pruned"]
    assert any(trial.values["head_rate"] in {1e-6, 1.01e-6, 1.02e-6} for trial in early)
    assert all(len(trial.epochs) < 5 and trial.value is None for trial in early)


def test_a_budget_ends_a_search(tmp_path: Path) -> None:
    """No trial begins after it, and one that runs is ended; what there is is told."""
    _search(tmp_path, trials=2).run(_around(tmp_path), Listener())
    found = _search(tmp_path, trials=500, budget_s=1.0).run(_around(tmp_path), Listener())
    assert found.ended == "the budget is spent"
    assert 2 <= len(found.trials) < 500
    with pytest.raises(Fatal, match="budget was too small"):
        _search(tmp_path / "other", budget_s=0.0).run(_around(tmp_path), Listener())


def test_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    """Another space, other rows or another sampler are another search."""
    _search(tmp_path)
    changes: list[dict[str, Any]] = [{"space": {"batch": Choices((16,))}}, {"sampler": Sampler.RANDOM}]
    for change in changes:
        with pytest.raises(Fatal, match="a search of other data"):
            _search(tmp_path, **change)
    with pytest.raises(Fatal, match="a search of other data"):
        Search(ORDER, Wish(space=SPACE, trials=6, pruner=Pruner.OFF), ROWS[:100], (), tmp_path)
    with pytest.raises(Fatal, match="--validation above 0"):
        _search(tmp_path, order=msgspec.structs.replace(ORDER, recipe=Recipe(validation=0.0)))


def test_values_that_cannot_be_trained_are_told(tmp_path: Path) -> None:
    """They count as tried, with the reason; where none can be trained, the search says so."""
    space: Space = {"batch": Choices((16, 0))}
    found = _search(tmp_path, space=space, sampler=Sampler.GRID).run(_around(tmp_path), Listener())
    assert sorted(bool(trial.reason) for trial in found.trials) == [False, True]
    assert found.best.values == {"batch": 16}
    with pytest.raises(Fatal, match=r"no trial came to its end: .*batch"):
        _search(tmp_path / "none", space={"batch": Choices((0, -1))}, sampler=Sampler.GRID).run(
            _around(tmp_path), Listener()
        )
