"""Turns the readings of a sensor event into numbers in the stream's units; keeps no state.

Consumes `SensorReading`, produces one float per name, None where a reading is missing.
"""

import math
from typing import Final

from schemas.config import Cleaning
from schemas.errors import Reason, Rejected
from schemas.raw import SensorReading

MAX_READINGS: Final = 1024
MAX_NAME: Final = 128
_MISSING: Final = frozenset({"", "nan", "null", "none", "na", "n/a", "-", "inf", "-inf", "+inf", "infinity"})

# unit: (dimension, factor, offset); a value times factor plus offset is in the dimension's base unit
_UNITS: Final[dict[str, tuple[str, float, float]]] = {
    "K": ("temperature", 1.0, 0.0),
    "C": ("temperature", 1.0, 273.15),
    "degC": ("temperature", 1.0, 273.15),
    "°C": ("temperature", 1.0, 273.15),
    "F": ("temperature", 5 / 9, 273.15 - 32 * 5 / 9),
    "degF": ("temperature", 5 / 9, 273.15 - 32 * 5 / 9),
    "°F": ("temperature", 5 / 9, 273.15 - 32 * 5 / 9),
    "Pa": ("pressure", 1.0, 0.0),
    "hPa": ("pressure", 100.0, 0.0),
    "mbar": ("pressure", 100.0, 0.0),
    "kPa": ("pressure", 1e3, 0.0),
    "bar": ("pressure", 1e5, 0.0),
    "psi": ("pressure", 6894.757293168, 0.0),
    "m": ("length", 1.0, 0.0),
    "mm": ("length", 1e-3, 0.0),
    "cm": ("length", 1e-2, 0.0),
    "km": ("length", 1e3, 0.0),
    "ft": ("length", 0.3048, 0.0),
    "in": ("length", 0.0254, 0.0),
    "m/s": ("speed", 1.0, 0.0),
    "km/h": ("speed", 1 / 3.6, 0.0),
    "mph": ("speed", 0.44704, 0.0),
    "kn": ("speed", 1852 / 3600, 0.0),
    "ns": ("time", 1e-9, 0.0),
    "us": ("time", 1e-6, 0.0),
    "ms": ("time", 1e-3, 0.0),
    "s": ("time", 1.0, 0.0),
    "min": ("time", 60.0, 0.0),
    "h": ("time", 3600.0, 0.0),
    "B": ("data", 1.0, 0.0),
    "kB": ("data", 1e3, 0.0),
    "MB": ("data", 1e6, 0.0),
    "GB": ("data", 1e9, 0.0),
    "KiB": ("data", 1024.0, 0.0),
    "MiB": ("data", 1024.0**2, 0.0),
    "GiB": ("data", 1024.0**3, 0.0),
    "1": ("ratio", 1.0, 0.0),
    "%": ("ratio", 0.01, 0.0),
    "percent": ("ratio", 0.01, 0.0),
    "V": ("voltage", 1.0, 0.0),
    "mV": ("voltage", 1e-3, 0.0),
    "A": ("current", 1.0, 0.0),
    "mA": ("current", 1e-3, 0.0),
    "W": ("power", 1.0, 0.0),
    "kW": ("power", 1e3, 0.0),
    "Hz": ("frequency", 1.0, 0.0),
    "kHz": ("frequency", 1e3, 0.0),
    "MHz": ("frequency", 1e6, 0.0),
    "GHz": ("frequency", 1e9, 0.0),
    "g": ("mass", 1e-3, 0.0),
    "kg": ("mass", 1.0, 0.0),
}


def converted(value: float, unit: str, wanted: str) -> float:
    """Convert a value between two units of one dimension.

    Raises:
        ValueError: a unit is unknown, or the two measure different things.
    """
    if unit == wanted:
        return value
    for name in (unit, wanted):
        if name not in _UNITS:
            raise ValueError(f"unit {name[:40]!r} is not known")
    dimension, factor, offset = _UNITS[unit]
    to_dimension, to_factor, to_offset = _UNITS[wanted]
    if dimension != to_dimension:
        raise ValueError(f"{unit} is a unit of {dimension}, {wanted} of {to_dimension}")
    return (value * factor + offset - to_offset) / to_factor


class Values:
    """Numeric strings, units and ranges, as one stream's configuration says."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._units = cleaning.units
        self._ranges = cleaning.ranges

    def read(self, reading: SensorReading) -> tuple[dict[str, float | None], list[str]]:
        """Return the readings as numbers (None: missing) and the names of those that were repaired.

        Raises:
            Rejected: no number, a unit that does not convert, out of its range, or too many readings.
        """
        if len(reading.values) > MAX_READINGS:
            message = f"{len(reading.values)} readings; at most {MAX_READINGS} fit in one event"
            raise Rejected(Reason.OVERSIZED, message, "data.values")
        repaired: list[str] = []
        numbers: dict[str, float | None] = {}
        for name, value in reading.values.items():
            if value.__class__ is float:
                number: float | None = value
            else:
                number = _number(name, value, repaired)
            numbers[name] = number
        if reading.units:
            self._convert(numbers, reading.units)
        self._check(numbers)
        return numbers, repaired

    def _convert(self, numbers: dict[str, float | None], units: dict[str, str]) -> None:
        for name, unit in units.items():
            number, wanted = numbers.get(name), self._units.get(name)
            if number is None or wanted is None:
                continue
            try:
                numbers[name] = converted(number, unit, wanted)
            except ValueError as error:
                raise Rejected(Reason.WRONG_TYPE, str(error), f"data.units.{name}") from error

    def _check(self, numbers: dict[str, float | None]) -> None:
        for name, number in numbers.items():
            if not 0 < len(name) <= MAX_NAME:
                message = f"a reading's name has {len(name)} characters; 1 to {MAX_NAME} are accepted"
                raise Rejected(Reason.OVERSIZED, message, "data.values")
            if number is not None and not math.isfinite(number):
                raise Rejected(
                    Reason.OUT_OF_RANGE, "not a finite number in the stream's unit", f"data.values.{name}"
                )
        for name, (low, high) in self._ranges.items():
            number = numbers.get(name)
            if number is not None and not low <= number <= high:
                message = f"{number:g} lies outside {low:g} to {high:g}"
                raise Rejected(Reason.OUT_OF_RANGE, message, f"data.values.{name}")


def _number(name: str, value: float | str | None, repaired: list[str]) -> float | None:
    """Read what is no float yet: whole numbers, numeric strings, and the ways to write `missing`."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _MISSING:
            return None
        repaired.append(name)
        try:
            return float(text) if "_" not in text else _refuse(name, value)
        except ValueError:
            return _refuse(name, value)
    try:
        return float(value)
    except OverflowError as error:
        raise Rejected(
            Reason.OUT_OF_RANGE, "larger than a float can be", f"data.values.{name}"[:600]
        ) from error


def _refuse(name: str, value: str) -> float:
    message = f"{value[:40]!r} is no number"
    raise Rejected(Reason.WRONG_TYPE, message, f"data.values.{name}"[:600])
