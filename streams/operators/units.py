"""Units of measurement: consumes a value and its unit as a sensor names it, produces it in another unit.

Symbols are those of the SI and of the trade (`degC`, `hPa`, `km/h`), the codes of UCUM for the commonest, and
English words. Case counts, as `mW` and `MW` differ; words are read in any case.
"""

from typing import Final

_KELVIN: Final = 273.15
_INCH_HG: Final = 3386.389
_POUND: Final = 0.45359237
_GALLON: Final = 3.785411784e-3

# dimension: {symbols, separated by spaces: (factor, offset)}; value · factor + offset is in the base unit
_DIMENSIONS: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "temperature": {
        "K": (1.0, 0.0),
        "C degC °C Cel": (1.0, _KELVIN),
        "F degF °F [degF]": (5 / 9, _KELVIN - 32 * 5 / 9),
        "R degR °R": (5 / 9, 0.0),
    },
    "pressure": {
        "Pa": (1.0, 0.0),
        "hPa mbar": (100.0, 0.0),
        "kPa": (1e3, 0.0),
        "MPa": (1e6, 0.0),
        "bar": (1e5, 0.0),
        "atm": (101_325.0, 0.0),
        "psi": (6894.757293168, 0.0),
        "mmHg mm[Hg] torr Torr": (133.322387415, 0.0),
        "inHg in[Hg]": (_INCH_HG, 0.0),
    },
    "length": {
        "m": (1.0, 0.0),
        "nm": (1e-9, 0.0),
        "um µm": (1e-6, 0.0),
        "mm": (1e-3, 0.0),
        "cm": (1e-2, 0.0),
        "dm": (1e-1, 0.0),
        "km": (1e3, 0.0),
        "in": (0.0254, 0.0),
        "ft": (0.3048, 0.0),
        "yd": (0.9144, 0.0),
        "mi": (1609.344, 0.0),
        "nmi NM": (1852.0, 0.0),
    },
    "area": {
        "m2 m²": (1.0, 0.0),
        "cm2 cm²": (1e-4, 0.0),
        "mm2 mm²": (1e-6, 0.0),
        "km2 km²": (1e6, 0.0),
        "ha": (1e4, 0.0),
        "ft2 ft²": (0.3048**2, 0.0),
        "acre": (4046.8564224, 0.0),
    },
    "volume": {
        "m3 m³": (1.0, 0.0),
        "l L": (1e-3, 0.0),
        "ml mL cm3 cm³": (1e-6, 0.0),
        "gal": (_GALLON, 0.0),
        "ft3 ft³": (0.3048**3, 0.0),
    },
    "flow": {
        "m3/s m³/s": (1.0, 0.0),
        "m3/h m³/h": (1 / 3600, 0.0),
        "l/s L/s": (1e-3, 0.0),
        "l/min L/min": (1e-3 / 60, 0.0),
        "gpm gal/min": (_GALLON / 60, 0.0),
    },
    "speed": {
        "m/s": (1.0, 0.0),
        "cm/s": (1e-2, 0.0),
        "mm/s": (1e-3, 0.0),
        "km/h kmh kph": (1 / 3.6, 0.0),
        "mph": (0.44704, 0.0),
        "ft/s": (0.3048, 0.0),
        "kn kt": (1852 / 3600, 0.0),
    },
    "acceleration": {"m/s2 m/s²": (1.0, 0.0), "gn g0": (9.80665, 0.0)},
    "time": {
        "ns": (1e-9, 0.0),
        "us µs": (1e-6, 0.0),
        "ms": (1e-3, 0.0),
        "s sec": (1.0, 0.0),
        "min": (60.0, 0.0),
        "h hr": (3600.0, 0.0),
        "d": (86_400.0, 0.0),
        "wk": (604_800.0, 0.0),
    },
    "frequency": {
        "Hz 1/s": (1.0, 0.0),
        "kHz": (1e3, 0.0),
        "MHz": (1e6, 0.0),
        "GHz": (1e9, 0.0),
        "rpm 1/min": (1 / 60, 0.0),
    },
    "data": {
        "B": (1.0, 0.0),
        "bit": (1 / 8, 0.0),
        "kB": (1e3, 0.0),
        "MB": (1e6, 0.0),
        "GB": (1e9, 0.0),
        "TB": (1e12, 0.0),
        "KiB": (1024.0, 0.0),
        "MiB": (1024.0**2, 0.0),
        "GiB": (1024.0**3, 0.0),
        "TiB": (1024.0**4, 0.0),
    },
    "data rate": {
        "B/s": (1.0, 0.0),
        "kB/s": (1e3, 0.0),
        "MB/s": (1e6, 0.0),
        "GB/s": (1e9, 0.0),
        "KiB/s": (1024.0, 0.0),
        "MiB/s": (1024.0**2, 0.0),
        "bit/s bps": (1 / 8, 0.0),
        "kbit/s kbps": (1e3 / 8, 0.0),
        "Mbit/s Mbps": (1e6 / 8, 0.0),
        "Gbit/s Gbps": (1e9 / 8, 0.0),
    },
    "ratio": {
        "1": (1.0, 0.0),
        "%": (1e-2, 0.0),
        "‰": (1e-3, 0.0),
        "ppm": (1e-6, 0.0),
        "ppb": (1e-9, 0.0),
    },
    "angle": {"rad": (1.0, 0.0), "deg °": (0.017453292519943295, 0.0)},
    "voltage": {"V": (1.0, 0.0), "uV µV": (1e-6, 0.0), "mV": (1e-3, 0.0), "kV": (1e3, 0.0)},
    "current": {"A": (1.0, 0.0), "uA µA": (1e-6, 0.0), "mA": (1e-3, 0.0), "kA": (1e3, 0.0)},
    "resistance": {"ohm Ω": (1.0, 0.0), "kohm kΩ": (1e3, 0.0), "Mohm MΩ": (1e6, 0.0)},
    "power": {
        "W": (1.0, 0.0),
        "mW": (1e-3, 0.0),
        "kW": (1e3, 0.0),
        "MW": (1e6, 0.0),
        "GW": (1e9, 0.0),
        "hp": (745.6998715822702, 0.0),
    },
    "energy": {
        "J": (1.0, 0.0),
        "kJ": (1e3, 0.0),
        "MJ": (1e6, 0.0),
        "Wh": (3600.0, 0.0),
        "kWh": (3.6e6, 0.0),
        "MWh": (3.6e9, 0.0),
        "cal": (4.184, 0.0),
        "kcal": (4184.0, 0.0),
    },
    "mass": {
        "kg": (1.0, 0.0),
        "ug µg": (1e-9, 0.0),
        "mg": (1e-6, 0.0),
        "g": (1e-3, 0.0),
        "t": (1e3, 0.0),
        "lb": (_POUND, 0.0),
        "oz": (_POUND / 16, 0.0),
    },
    "force": {"N": (1.0, 0.0), "kN": (1e3, 0.0), "lbf": (_POUND * 9.80665, 0.0)},
}
_WORDS: Final = {
    "celsius": "C",
    "fahrenheit": "F",
    "kelvin": "K",
    "pascal": "Pa",
    "meter": "m",
    "metre": "m",
    "mile": "mi",
    "foot": "ft",
    "feet": "ft",
    "inch": "in",
    "inches": "in",
    "liter": "l",
    "litre": "l",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "week": "wk",
    "knot": "kn",
    "hertz": "Hz",
    "byte": "B",
    "percent": "%",
    "degree": "deg",
    "radian": "rad",
    "volt": "V",
    "ampere": "A",
    "amp": "A",
    "watt": "W",
    "joule": "J",
    "gram": "g",
    "kilogram": "kg",
    "tonne": "t",
    "pound": "lb",
    "ounce": "oz",
    "newton": "N",
}
UNITS: Final[dict[str, tuple[str, float, float]]] = {
    symbol: (dimension, factor, offset)
    for dimension, units in _DIMENSIONS.items()
    for symbols, (factor, offset) in units.items()
    for symbol in symbols.split()
}
"""Symbol: (dimension, factor, offset). A value times factor plus offset is in the dimension's base unit."""


def converted(value: float, unit: str, wanted: str) -> float:
    """Convert a value between two units of one dimension.

    >>> round(converted(212.0, "degF", "C"), 9)
    100.0

    Raises:
        ValueError: a unit is unknown, or the two measure different things.
    """
    if unit == wanted:
        return value
    dimension, factor, offset = _known(unit)
    to_dimension, to_factor, to_offset = _known(wanted)
    if dimension != to_dimension:
        raise ValueError(f"{unit} is a unit of {dimension}, {wanted} of {to_dimension}")
    if factor == to_factor and offset == to_offset:  # two names of one unit: not a digit is lost
        return value
    return (value * factor + offset - to_offset) / to_factor


def _known(unit: str) -> tuple[str, float, float]:
    found = UNITS.get(unit)
    if found is None:
        symbol = unit.strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
        word = symbol.lower()
        symbol = _WORDS.get(word) or _WORDS.get(word.removesuffix("s")) or symbol
        found = UNITS.get(symbol.replace("\N{OHM SIGN}", "\N{GREEK CAPITAL LETTER OMEGA}"))
    if found is None:
        raise ValueError(f"unit {unit[:40]!r} is not known")
    return found
