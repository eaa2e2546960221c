"""Hypothesis strategies that make any instance a contract allows, from the contract's own type hints."""

from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from schemas.audit import Audit
from schemas.clean import Clean
from schemas.control import Control
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.release import Manifest, Release, Swap, Transition
from schemas.shadow import Shadow

CONTRACTS: tuple[type[msgspec.Struct], ...] = (
    Audit,
    Clean,
    Copies,
    Dead,
    DriftAlert,
    Label,
    Manifest,
    Prediction,
    Shadow,
    Release,
    Swap,
    Transition,
    Control,
)

_LEAF: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    NoneType: st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Any: st.recursive(
        st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
}


def instances(contract: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Return a strategy of whole records: every field drawn, none left at its default."""
    hints = get_type_hints(contract)
    return st.builds(contract, **{name: values(hints[name]) for name in contract.__struct_fields__})


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of the values that a type hint allows."""
    if hint in _LEAF:
        return _LEAF[hint]
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        return st.one_of([values(argument) for argument in arguments])
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[values(argument) for argument in arguments])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return instances(hint)
