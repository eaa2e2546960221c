"""ARFF, the format of Weka and MOA: consumes numbered lines, produces attribute names and rows of cells.

https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/ ; dense rows only, weights are left
out.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from schemas.errors import Fatal

_ATTRIBUTE: Final = re.compile(
    r"@attribute\s+(?:'((?:[^'\\]|\\.)*)'|\"([^\"]*)\"|([^\s{]+))\s*(.*)", re.IGNORECASE
)


def header(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[str, ...]:
    """Read up to `@data` and return the names of the attributes.

    Raises:
        Fatal: the header is broken; the message names the line.
    """
    names: list[str] = []
    for number, line in lines:
        text = line.strip()
        if text.lower().startswith("@data"):
            if not names:
                raise Fatal(f"{path} line {number}: @data comes before any @attribute")
            return tuple(names)
        if text.lower().startswith("@attribute"):
            match = _ATTRIBUTE.match(text)
            if match is None:
                raise Fatal(
                    f"{path} line {number}: an attribute is `@attribute NAME TYPE`, not {text[:60]!r}"
                )
            names.append(next(name for name in match.groups()[:3] if name is not None))
    raise Fatal(f"{path} is no ARFF file: it has no @data")


def rows(lines: Iterator[tuple[int, str]], names: Sequence[str]) -> Iterator[tuple[int, Sequence[str], str]]:
    """Yield line number, cells and, where a line is no row, what is wrong with it."""
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        if text.startswith("{"):
            yield number, (), "a sparse row ({index value, …}); write it as a dense one"
            continue
        quote = "'" if "'" in text else '"'
        cells = [cell.strip() for cell in next(csv.reader([text], quotechar=quote, skipinitialspace=True))]
        if len(cells) != len(names):
            yield number, (), f"{len(cells)} cells where there are {len(names)} attributes"
        else:
            yield number, cells, ""
