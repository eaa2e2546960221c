"""What a stream's trainer remembers between runs: consumes the rows of each run, produces the next dataset.

It holds the replay reservoir and the split so far, in one file that a crash leaves old or new. A stream's
model is then never tested on what an earlier one was trained on, and rows that left the warehouse can still
be trained on again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from infra.runtime.durable import write
from schemas.cleaning import Cleaning
from schemas.config import Learn
from schemas.errors import Fatal
from trainers import description
from trainers.dataset import Dataset, split
from trainers.description import Lineage, Window
from trainers.reservoir import Remembered, Reservoir, capacity, datasets_of
from trainers.row import Row
from trainers.sides import Sides


@dataclass(frozen=True)
class Origin:
    """What a dataset is for: who asked, what it continues from, and what is known of the stream."""

    stream: str = ""
    alert: str | None = None
    champion: int | None = None
    parent: str = ""
    """The sha256 of the champion's dataset."""

    windows: tuple[Window, ...] = ()
    cleaning: Cleaning = field(default_factory=Cleaning)
    created_at: datetime | None = None


class _State(msgspec.Struct, kw_only=True):
    """The memory file; `capacity` and `seed` are those that `quota` belongs to."""

    sides: Sides = Sides()
    capacity: int = 0
    seed: int = 0
    quota: int | None = None
    entries: list[Remembered] = []


def memory_file(home: Path, stream: str) -> Path:
    """Return where a stream's memory lies."""
    return home / "trainer" / "memory" / f"{stream}.json"


class Memory:
    """One stream's memory, in `file`; without one it lasts as long as the object."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._state = _State()
        if file is not None and file.is_file():
            try:
                self._state = msgspec.json.decode(file.read_bytes(), type=_State)
            except msgspec.DecodeError as error:
                raise Fatal(
                    f"{file} cannot be read: {error}. It holds the replay reservoir and which rows are held"
                    " out; put it back from a copy, or move it away to begin anew from the warehouse"
                ) from error

    @property
    def entries(self) -> Sequence[Remembered]:
        """Return what the reservoir remembers."""
        return self._state.entries

    def dataset(
        self, learn: Learn, recent: Sequence[Row], old: Sequence[Row], since: datetime | None, origin: Origin
    ) -> Dataset:
        """Make the dataset of a run, and remember its rows; `old` are those found from before `since`.

        Raises:
            Fatal: there are too few rows to train on and evaluate with.
        """
        sides = self._state.sides
        if sides.until is None:  # nothing was split yet: as if a run had been made of the old rows
            sides = sides.extended(row.time for row in old)
        sides = sides.extended(row.time for row in recent)
        reservoir = self._reservoir(learn)
        reservoir.offer(old)
        drawn = reservoir.draw(since) if since is not None and learn.replay else []
        data = split(recent, [entry.row for entry in drawn], sides)
        data = described(data, drawn, origin)
        # also what the split left out, for it may be needed once its class is larger or its copy is gone
        reservoir.offer([*recent, *(entry.row for entry in drawn)], data.sha256())
        reservoir.trim()
        self._keep(sides, reservoir, learn)
        return data

    def _reservoir(self, learn: Learn) -> Reservoir:
        state, size = self._state, capacity(learn.replay)
        same = (state.capacity, state.seed) == (size, learn.seed)
        return Reservoir(size, learn.seed, state.entries, state.quota if same else None)

    def _keep(self, sides: Sides, reservoir: Reservoir, learn: Learn) -> None:
        self._state = _State(
            sides=sides,
            capacity=capacity(learn.replay),
            seed=learn.seed,
            quota=reservoir.quota,
            entries=reservoir.entries,
        )
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write(self._file, self._state)


def described(data: Dataset, drawn: Sequence[Remembered] = (), origin: Origin | None = None) -> Dataset:
    """Return the dataset with all that is known of it; `drawn` are its rows from the reservoir."""
    origin = origin or Origin()
    parents = dict(datasets_of(drawn))
    if origin.parent:
        parents.setdefault(origin.parent, 0)
    windows = origin.windows or (
        description.window("recent", [*data.recent, *data.recent_validation, *data.recent_held_out]),
    )
    if drawn:
        windows = (*windows, description.window("replayed", [entry.row for entry in drawn]))
    rows = [row for part in data.parts().values() for row in part]
    known = description.Description(
        sha256=data.sha256(),
        stream=origin.stream,
        created_at=origin.created_at or datetime.now(UTC),
        windows=windows,
        lineage=Lineage(alert=origin.alert, champion=origin.champion, parents=parents),
        leaks=data.leaks,
        rare=data.rare,
        statistics=description.statistics({side.value: part for side, part in data.parts().items()}),
        dictionary=description.dictionary(rows, origin.cleaning),
    )
    return msgspec.structs.replace(data, description=known)
