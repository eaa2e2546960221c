"""Turns the readings of a sensor event into numbers in the stream's units; keeps no state.

Consumes `SensorReading`, produces one float per name, None where a reading is missing.
"""

import math
import re
from contextlib import suppress
from typing import Final

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from schemas.raw import SensorReading
from streams.operators.units import UNITS, converted

MAX_READINGS: Final = 1024
MAX_NAME: Final = 128
_MISSING: Final = frozenset({"", "nan", "null", "none", "na", "n/a", "-", "inf", "-inf", "+inf", "infinity"})

_MAX_NUMBER: Final = 64  # characters of a numeric string

# A numeric string, and the unit behind it: `1 234.5`, `1'234.5 kWh`, `-3,5°C`. The sign of decimals and that
# of thousands are told apart by `_plain`.
_NUMERIC: Final = re.compile(
    r"([+-]?(?:\d[\d.,' ]*|[.,]\d+)(?:[eE][+-]?\d{1,3})?)\s*([^\d\s.,'+-]\S{0,15})?", re.ASCII
)
_GROUPED: Final = {
    ".": re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+(?=\.)|(?:,\d{3}){2,}|(?:[' ]\d{3})+)(?:\.\d*)?", re.ASCII),
    ",": re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3})+|(?:[' ]\d{3})+)(?:,\d*)?", re.ASCII),
}
_VARIANTS: Final = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{NO-BREAK SPACE}": " ",
        "\N{NARROW NO-BREAK SPACE}": " ",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)


class Values:
    """Numeric strings, units and ranges, as one stream's configuration says."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._units = cleaning.units
        self._ranges = tuple((name, low, high) for name, (low, high) in cleaning.ranges.items())
        self._out_of_range = cleaning.out_of_range
        self._decimal = cleaning.decimal

    def read(self, reading: SensorReading) -> tuple[dict[str, float | None], list[str]]:
        """Return the readings as numbers (None: missing) and the names of those that were repaired.

        Repaired are numeric strings, and readings that were clipped to their range or dropped for it.

        Raises:
            Rejected: no number, a unit that does not convert, out of its range, or too many readings.
        """
        if len(reading.values) > MAX_READINGS:
            message = f"{len(reading.values)} readings; at most {MAX_READINGS} fit in one event"
            raise Rejected(Reason.OVERSIZED, message, "data.values")
        repaired: list[str] = []
        numbers: dict[str, float | None] = {}
        units = reading.units
        for name, value in reading.values.items():
            if value.__class__ is float:
                number: float | None = value
            else:
                number, unit = self._number(name, value, repaired)
                if unit and name not in units:
                    units = {**units, name: unit}
            numbers[name] = number
        if units:
            self._convert(numbers, units)
        _check(numbers)
        if self._ranges:
            self._bound(numbers, repaired)
        return numbers, repaired

    def _convert(self, numbers: dict[str, float | None], units: dict[str, str]) -> None:
        for name, unit in units.items():
            number, wanted = numbers.get(name), self._units.get(name)
            if number is None or wanted is None:
                continue
            try:
                numbers[name] = converted(number, unit, wanted)
            except ValueError as error:
                raise Rejected(Reason.WRONG_TYPE, str(error), f"data.units.{name}"[:600]) from error

    def _bound(self, numbers: dict[str, float | None], repaired: list[str]) -> None:
        """Do to readings out of their range what the stream says."""
        for name, low, high in self._ranges:
            number = numbers.get(name)
            if number is None or low <= number <= high:
                continue
            if self._out_of_range == "reject":
                message = f"{number:g} lies outside {low:g} to {high:g}"
                raise Rejected(Reason.OUT_OF_RANGE, message, f"data.values.{name}")
            numbers[name] = min(max(number, low), high) if self._out_of_range == "clip" else None
            if name not in repaired:
                repaired.append(name)

    def _number(self, name: str, value: float | str | None, repaired: list[str]) -> tuple[float | None, str]:
        """Read what is no float yet: whole numbers, numeric strings, and the ways to write `missing`.

        The second is the unit that stood behind the number, empty where none did.
        """
        if value is None:
            return None, ""
        if not isinstance(value, str):
            try:
                return float(value), ""
            except OverflowError as error:
                message = "larger than a float can be"
                raise Rejected(Reason.OUT_OF_RANGE, message, f"data.values.{name}"[:600]) from error
        text = value.strip()
        if text.lower() in _MISSING:
            return None, ""
        repaired.append(name)
        if self._decimal == "." and text.isascii() and "_" not in text:
            with suppress(ValueError):  # the common case: a number as machines write it
                return float(text), ""
        found = _NUMERIC.fullmatch(text.translate(_VARIANTS)) if len(text) <= _MAX_NUMBER else None
        plain = None if found is None else _plain(found[1], self._decimal)
        unit = "" if found is None else found[2] or ""
        if plain is None or (unit and unit not in UNITS):
            raise Rejected(
                Reason.WRONG_TYPE,
                f"{value[:40]!r} is no number (decimals follow a {self._decimal!r})",
                f"data.values.{name}"[:600],
            )
        return plain, unit


def _check(numbers: dict[str, float | None]) -> None:
    for name, number in numbers.items():
        if not 0 < len(name) <= MAX_NAME:
            message = f"a reading's name has {len(name)} characters; 1 to {MAX_NAME} are accepted"
            raise Rejected(Reason.OVERSIZED, message, "data.values")
        if number is not None and not math.isfinite(number):
            raise Rejected(
                Reason.OUT_OF_RANGE, "not a finite number in the stream's unit", f"data.values.{name}"
            )


def _plain(text: str, decimal: str) -> float | None:
    """Read a number with the stream's decimal sign; None where it is none.

    Thousands may be grouped by an apostrophe, a space or the other sign. With a decimal point, `1,234` is
    refused all the same: as likely as not it was meant to have a decimal comma.
    """
    text = text.rstrip()
    mantissa, exponent, power = text.partition("e") if "e" in text else text.partition("E")
    if _GROUPED[decimal].fullmatch(mantissa):
        mantissa = mantissa.translate({ord(sign): None for sign in "' .," if sign != decimal})
    elif decimal == "," and "." in mantissa:
        return None
    if decimal == ",":
        mantissa = mantissa.replace(",", ".", 1)
    try:
        return float(f"{mantissa}{exponent}{power}")
    except ValueError:
        return None
