"""The datasets on disk: consumes run folders, produces what is known of each, its rows, and free space.

A dataset lies in its run's folder as `dataset.json`. The newest of each stream keep their rows; older ones
keep what is known of them, from which their rows can be read again in the warehouse. Nothing here imports
torch: `headrace data` uses it too.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra.runtime.durable import write
from schemas.errors import Fatal
from trainers.dataset import Dataset
from trainers.description import Description
from trainers.row import Row
from trainers.runs import FINAL

FILE: Final = "dataset.json"

PARTS: Final = {
    "training": ("recent", "old"),
    "validation": ("recent_validation", "old_validation"),
    "test": ("recent_held_out", "old_held_out"),
}
"""The parts of a Dataset by the side that they are on."""


class _Head(msgspec.Struct):
    description: Description | None = None


class _State(msgspec.Struct):
    state: str


class Stored(NamedTuple):
    """One dataset on disk."""

    run: str
    path: Path
    description: Description
    size_bytes: int


def stored(home: Path, stream: str = "") -> list[Stored]:
    """Return the datasets of a stream, or of all, oldest first.

    Raises:
        Fatal: one of them cannot be read.
    """
    found, bad = _stored(home, stream)
    for path, error in bad.items():
        raise Fatal(f"{path} cannot be read: {error}; remove its run's folder if it is not needed")
    return found


def find(home: Path, name: str) -> Stored:
    """Return a dataset by its run's name, or by the beginning of its sha256.

    Raises:
        Fatal: there is none, or several begin like this; the message says which there are.
    """
    known = stored(home)
    runs = [one for one in known if one.run == name]
    begin = [one for one in known if name and one.description.sha256.startswith(name.lower())]
    found = runs or begin
    if not found:
        there = ", ".join(one.description.sha256[:12] for one in known[-5:])
        hint = (
            f"the newest are {there}; `headrace data list` shows all" if known else "none was collected yet"
        )
        raise Fatal(f"no dataset is called {name!r}: {hint}")
    if len({one.description.sha256 for one in found}) > 1:
        there = ", ".join(one.description.sha256[:12] for one in found)
        raise Fatal(f"{name!r} may be any of {there}; give more of it")
    with_rows = [one for one in found if not one.description.pruned]
    return (with_rows or found)[-1]


def rows(one: Stored, sides: tuple[str, ...] = tuple(PARTS)) -> Iterator[tuple[str, str, Row]]:
    """Yield side, part (`recent` or `old`) and row of a dataset.

    Raises:
        Fatal: it keeps no rows any more; the message says how to read them again.
    """
    if one.description.pruned:
        raise Fatal(
            f"dataset {one.description.sha256[:12]} keeps its description only: newer ones took its place."
            f" `headrace data show {one.description.sha256[:12]} --json` has the queries that read its rows"
            " again; keep more datasets with `learn.keep_datasets`"
        )
    data = msgspec.json.decode(one.path.read_bytes(), type=Dataset)
    for side in sides:
        for part in PARTS[side]:
            for row in getattr(data, part):
                yield side, part.partition("_")[0], row


def prune(home: Path, stream: str, keep: int) -> list[str]:
    """Take the rows out of a stream's datasets but the newest `keep`; returns the runs that they were of.

    A run that is not at its end keeps its rows: they are what it goes on with after a restart. A dataset
    that cannot be read is left to `headrace data list`, which says so: it must not stop a training.
    """
    with_rows = [one for one in _stored(home, stream)[0] if not one.description.pruned]
    done = [one for one in with_rows[: max(0, len(with_rows) - keep)] if _ended(one.path.parent)]
    for one in done:
        head = msgspec.structs.replace(one.description, pruned=True)
        write(one.path, Dataset(recent=[], recent_held_out=[], description=head))
    return [one.run for one in done]


def flat(side: str, part: str, row: Row) -> dict[str, Any]:
    """Return a row as one record of a table; a reading is the column `values.NAME`."""
    record = {
        "side": side, "part": part, "source": row.source, "id": row.id, "time": row.time, "label": row.label,
        "text": row.text, "topic": row.event.topic, "partition": row.event.partition,
        "offset": row.event.offset,
    }  # fmt: skip
    if row.target is not None:
        record["target"] = row.target
    return record | {f"values.{name}": value for name, value in sorted(row.values.items())}


def _stored(home: Path, stream: str) -> tuple[list[Stored], dict[Path, Exception]]:
    """Return the datasets of a stream, or of all, oldest first, and why others cannot be read."""
    found: list[Stored] = []
    bad: dict[Path, Exception] = {}
    for path in sorted((home / "trainer" / "runs").glob(f"*/{FILE}")):
        try:
            content = path.read_bytes()
            head = msgspec.json.decode(content, type=_Head).description
        except (OSError, msgspec.DecodeError) as error:
            bad[path] = error
            continue
        if head is not None and stream in ("", head.stream):  # runs before there were versions have none
            found.append(Stored(path.parent.name, path, head, len(content)))
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda one: (one.description.created_at or oldest, one.run)), bad


def _ended(run: Path) -> bool:
    """Tell whether a run is over; one without a state was made at once, by `trainers.bootstrap`."""
    path = run / "state.json"
    return not path.is_file() or msgspec.json.decode(path.read_bytes(), type=_State).state in FINAL
