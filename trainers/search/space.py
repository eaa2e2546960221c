"""What is searched: consumes names with ranges or choices, produces recipes to try.

head_rate=1e-4..1e-2:log      a range, drawn on a logarithmic scale
warmup=0..0.2                 a range; of whole numbers where the parameter is one
batch=16,32,64                choices
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import product
from typing import Any, Final

import msgspec

from schemas.errors import Fatal
from trainers.recipe import Mode, Recipe
from trainers.tasks.kinds import SENSORS, Kind
from trainers.tasks.training import Order

Value = float | int | str

_WHOLE: Final = frozenset({"epochs", "batch", "accumulate", "rank", "top_layers", "max_tokens", "window"})
_REAL: Final = frozenset({"head_rate", "encoder_rate", "weight_decay", "warmup", "clip"})
_KNOWN: Final = ("mode", *sorted(_WHOLE | _REAL))
_GRID_POINTS: Final = 4
"""Points of a range in a grid."""

_RANGE: Final = re.compile(r"(?P<low>[^.,:]+(?:\.\d[^.,:]*)?)\.\.(?P<high>[^,:]+)(?P<log>:log)?")


class Range(msgspec.Struct, frozen=True, tag="range"):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def points(self, count: int) -> list[Value]:
        """Return numbers that are evenly spread over it, at most `count`."""
        steps = [number / (count - 1) for number in range(count)]
        if self.log:
            found = [self.low * (self.high / self.low) ** step for step in steps]
        else:
            found = [self.low + (self.high - self.low) * step for step in steps]
        return list(dict.fromkeys(round(value) for value in found)) if self.whole else list(found)

    def holds(self, value: Value) -> bool:
        """Tell whether a value lies in it."""
        return not isinstance(value, str) and self.low <= value <= self.high


class Choices(msgspec.Struct, frozen=True, tag="choices"):
    """One of some values."""

    values: tuple[Value, ...]

    def points(self, count: int) -> list[Value]:
        """Return all of them, however many."""
        return list(self.values)

    def holds(self, value: Value) -> bool:
        """Tell whether a value is one of them."""
        return value in self.values


Space = dict[str, Range | Choices]


def usual(order: Order) -> Space:
    """Return what is worth searching for a task and mode.

    Raises:
        Fatal: nothing of the task is trained by descent.
    """
    if order.kind is Kind.CLUSTERING:
        raise Fatal(
            "a clustering has nothing to search: compare --clusters by the silhouette that train reports"
        )
    head: Space = {"head_rate": Range(2e-4, 2e-2, log=True), "weight_decay": Range(1e-4, 0.3, log=True)}
    batches = Choices((16, 32, 64, 128))
    if order.kind in SENSORS or (order.recipe.mode is Mode.HEAD and order.kind is Kind.CLASSIFICATION):
        return {**head, "batch": batches}
    few = Choices((8, 16, 32))
    by_mode: dict[Mode, Space] = {
        Mode.HEAD: head,
        Mode.TOP: {"encoder_rate": Range(1e-5, 3e-4, log=True), "top_layers": Choices((1, 2, 3))},
        Mode.LORA: {"encoder_rate": Range(1e-4, 3e-3, log=True), "rank": Choices((4, 8, 16, 32))},
        Mode.FULL: {"encoder_rate": Range(1e-5, 3e-4, log=True), "warmup": Range(0.0, 0.3)},
    }
    return {**by_mode[order.recipe.mode], "batch": few}


def parsed(texts: Sequence[str]) -> Space:
    """Read `NAME=RANGE` and `NAME=CHOICES`.

    Raises:
        Fatal: a name is not known, or what follows it is no range and no choices of its kind.
    """
    return dict(map(_parameter, texts))


def suggested(trial: Any, space: Space) -> dict[str, Value]:
    """Ask an Optuna trial for a value of each parameter."""
    found: dict[str, Value] = {}
    for name, given in space.items():
        if isinstance(given, Choices):
            found[name] = trial.suggest_categorical(name, list(given.values))
        elif given.whole:
            found[name] = trial.suggest_int(name, int(given.low), int(given.high), log=given.log)
        else:
            found[name] = trial.suggest_float(name, given.low, given.high, log=given.log)
    return found


def grid(space: Space) -> Iterator[dict[str, Value]]:
    """Yield every combination; of a range four points."""
    for values in product(*(given.points(_GRID_POINTS) for given in space.values())):
        yield dict(zip(space, values, strict=True))


def default(order: Order, space: Space) -> dict[str, Value] | None:
    """Return the order's own values of the searched parameters; None where the space lacks one of them."""
    recipe = order.recipe
    own: dict[str, Value] = {
        name: getattr(recipe, name) for name in space if name in Recipe.__struct_fields__
    }
    own |= {
        name: value
        for name, value in (("mode", recipe.mode.value), ("encoder_rate", recipe.rate))
        if name in own
    }
    if "window" in space:
        own["window"] = order.window
    return own if all(space[name].holds(value) for name, value in own.items()) else None


def applied(order: Order, values: Mapping[str, Value]) -> Order:
    """Return the order with values of a trial in it.

    Raises:
        Fatal: a value is out of its bounds.
    """
    changes: dict[str, Any] = dict(values)
    window = changes.pop("window", order.window)
    try:
        recipe = msgspec.convert({**msgspec.to_builtins(order.recipe), **changes}, Recipe)
    except msgspec.ValidationError as error:
        raise Fatal(f"{changes}: {error}") from error
    return msgspec.structs.replace(order, recipe=recipe, window=int(window))


def _parameter(text: str) -> tuple[str, Range | Choices]:
    name, sign, given = (part.strip() for part in text.partition("="))
    if not sign or not given:
        raise Fatal(f"--space {text}: write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C")
    if name not in _KNOWN:
        near = get_close_matches(name, _KNOWN, n=1, cutoff=0.0)[0]
        raise Fatal(
            f"--space {text}: {name!r} is no parameter; did you mean {near!r}? There are: {', '.join(_KNOWN)}"
        )
    ranged = _RANGE.fullmatch(given)
    if ranged and name != "mode":
        return name, _range(text, name, ranged)
    values = tuple(_value(text, name, part.strip()) for part in given.split(","))
    return name, Choices(tuple(dict.fromkeys(values)))


def _range(text: str, name: str, found: "re.Match[str]") -> Range:
    low, high = (float(_value(text, name, found[end].strip())) for end in ("low", "high"))
    log = bool(found["log"])
    if not low < high or (log and low <= 0):
        raise Fatal(f"--space {text}: a range goes up, and on a logarithmic scale from above 0")
    return Range(low, high, log=log, whole=name in _WHOLE)


def _value(text: str, name: str, part: str) -> Value:
    if name == "mode":
        if part not in set(Mode):
            raise Fatal(f"--space {text}: {part!r} is no mode; there are: {', '.join(Mode)}")
        return part
    try:
        return int(part) if name in _WHOLE else float(part)
    except ValueError:
        wanted = "whole number" if name in _WHOLE else "number"
        raise Fatal(f"--space {text}: {part!r} is no {wanted}") from None
