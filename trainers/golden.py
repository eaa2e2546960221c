"""The golden set of a model: consumes the first training's held-out rows, produces rows for every later one.

It is drawn once, kept under `<home>/trainer/golden` and never changed: a model that loses a little with each
release is found out by rows that do not move. Its version is the hash of its contents.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from infra.runtime.durable import write
from schemas.errors import Fatal
from trainers.dataset import Dataset
from trainers.row import Row


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The rows, and the sha256 of them in canonical JSON."""

    version: str
    rows: list[Row]


def path_of(home: Path, model: str) -> Path:
    """Return where a model's golden set lies; without the file the next release draws a new one."""
    return home / "trainer" / "golden" / f"{model}.json"


def load(home: Path, model: str) -> Golden | None:
    """Return a model's golden set, None where none was drawn yet.

    Raises:
        Fatal: the file is no golden set, or its rows are not those that were drawn.
    """
    path = path_of(home, model)
    try:
        golden = msgspec.json.decode(path.read_bytes(), type=Golden)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise Fatal(f"{path} is no golden set ({error}); remove it to have a new one drawn") from error
    if version_of(golden.rows) != golden.version:
        raise Fatal(f"{path} was changed since it was drawn; bring it back, or remove it to draw a new one")
    return golden


def draw(home: Path, model: str, data: Dataset, size: int) -> Golden | None:
    """Draw, keep and return a golden set of at most `size` held-out rows, labels by turns; None for 0."""
    rows = by_turns([*data.recent_held_out, *data.old_held_out], size)
    if not rows:
        return None
    golden = Golden(version=version_of(rows), rows=rows)
    path = path_of(home, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, golden)
    return golden


def without(data: Dataset, golden: Golden | None) -> Dataset:
    """Return the dataset with the golden rows taken out of all its parts but the held-out ones.

    They were held out when they were drawn; this keeps them so, however rows are held out today.
    """
    if golden is None:
        return data
    kept = {(row.source, row.id) for row in golden.rows}
    parts = {name: getattr(data, name) for name in data.__struct_fields__ if not name.endswith("_held_out")}
    changed = {
        name: [row for row in part if not isinstance(row, Row) or (row.source, row.id) not in kept]
        for name, part in parts.items()
        if isinstance(part, list)
    }
    return msgspec.structs.replace(data, **changed)


def by_turns(rows: Sequence[Row], size: int) -> list[Row]:
    """Return at most `size` rows, the labels taking turns, each label's in the order of their ids' hash."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_hash):
        groups[row.label].append(row)
    turns = max(map(len, groups.values()), default=0)
    each = [group for _, group in sorted(groups.items())]
    ordered = [group[turn] for turn in range(turns) for group in each if turn < len(group)]
    return ordered[:size]


def version_of(rows: Sequence[Row]) -> str:
    """Return the sha256 of rows, the same for the same rows in the same order."""
    return hashlib.sha256(msgspec.json.encode(rows, order="sorted")).hexdigest()


def _hash(row: Row) -> bytes:
    return hashlib.blake2b(f"golden\0{row.source}\0{row.id}".encode(), digest_size=8).digest()
