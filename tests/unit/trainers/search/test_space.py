"""What is searched: ranges and choices are read, spread and put into an order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Fatal
from trainers.recipe import Mode, Recipe
from trainers.search.space import Choices, Range, Space, applied, default, grid, parsed, usual
from trainers.tasks.kinds import Kind
from trainers.tasks.training import Order

ORDER = Order(kind=Kind.CLASSIFICATION)


def test_what_people_write_is_read() -> None:
    """Ranges, logarithmic ones, whole numbers and choices."""
    assert parsed(
        ["head_rate=1e-4..1e-2:log", "warmup=0..0.2", "rank=2..16", "batch=16,32", "mode=head,lora"]
    ) == {
        "head_rate": Range(1e-4, 1e-2, log=True),
        "warmup": Range(0.0, 0.2),
        "rank": Range(2.0, 16.0, whole=True),
        "batch": Choices((16, 32)),
        "mode": Choices(("head", "lora")),
    }
    assert parsed(["clip=0.5..2.5"]) == {"clip": Range(0.5, 2.5)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("heed_rate=1..2", "did you mean 'head_rate'"),
        ("batch", "write NAME=LOW..HIGH"),
        ("batch=3.5", "no whole number"),
        ("head_rate=a", "no number"),
        ("head_rate=2..1", "goes up"),
        ("head_rate=0..1:log", "from above 0"),
        ("mode=heads", "is no mode"),
    ],
)
def test_what_is_no_space_says_why(text: str, reason: str) -> None:
    """The message names what was written and what would be right."""
    with pytest.raises(Fatal, match=reason):
        parsed([text])


@given(st.floats(1e-6, 1.0), st.floats(1.1, 1e4), st.booleans(), st.integers(2, 9))
def test_points_span_a_range(low: float, factor: float, log: bool, count: int) -> None:
    """From end to end, ascending, each within."""
    given = Range(low, low * factor, log=log)
    points = [float(point) for point in given.points(count)]
    assert points == sorted(points) and len(points) == count
    assert points[0] == pytest.approx(low) and points[-1] == pytest.approx(low * factor)


def test_a_grid_has_every_combination_once() -> None:
    """Of whole numbers those that there are."""
    space: Space = {
        "batch": Choices((16, 32, 64)),
        "rank": Range(1, 3, whole=True),
        "warmup": Range(0.0, 0.3),
    }
    points = [tuple(point.values()) for point in grid(space)]
    assert len(points) == len(set(points)) == 3 * 3 * 4


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CLUSTERING])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_usual_space_can_be_applied(kind: Kind, mode: Mode) -> None:
    """Every corner of it is a recipe, and the order's own values lie in it."""
    order = Order(kind=kind, recipe=Recipe(mode=mode))
    space = usual(order)
    assert default(order, space) is not None
    for corner in (0, -1):
        values = {name: given.points(2)[corner] for name, given in space.items()}
        recipe = applied(order, values).recipe
        assert all(getattr(recipe, name) == value for name, value in values.items())


def test_a_value_out_of_bounds_is_refused() -> None:
    """As it would be on the command line of a training."""
    with pytest.raises(Fatal, match="batch"):
        applied(ORDER, {"batch": 0})
    with pytest.raises(Fatal, match="silhouette"):
        usual(Order(kind=Kind.CLUSTERING))


def test_windows_and_modes_are_part_of_an_order() -> None:
    """A forecast's window is the order's own; the mode is the recipe's."""
    order = applied(ORDER, {"window": 5, "mode": "lora", "rank": 4})
    assert (order.window, order.recipe.mode, order.recipe.rank) == (5, Mode.LORA, 4)
    assert default(ORDER, {"mode": Choices(("lora", "full"))}) is None
