"""What the learning loops of all streams use together, and what they ask of the world around them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from infra.runtime.clock import Clock
from infra.runtime.releases import Releases
from schemas.config import Learn
from schemas.record import Outgoing
from schemas.release import Release
from trainers.dataset import Dataset
from trainers.registry import Registrar
from trainers.runs import Runs


class Sends(Protocol):
    """Where transitions and releases go (`infra.runtime.kafka.produce.Publisher`)."""

    async def send(self, record: Outgoing, /) -> object: ...


class Trains(Protocol):
    """Who trains a run folder (`trainers.child.Child`)."""

    async def start(self) -> None: ...
    async def train(self, run: Path, on_step: Callable[[str], Awaitable[None]], limit_s: float) -> Path: ...


class Reads(Protocol):
    """Where a stream's labelled rows are read (`trainers.reader.Reader`)."""

    async def count(self, since: datetime | None) -> int: ...
    async def labels(self) -> list[str]: ...
    async def dataset(
        self,
        learn: Learn,
        since: datetime | None,
        *,
        alert: str | None = None,
        champion: Release | None = None,
    ) -> Dataset: ...


@dataclass
class Shared:
    """What the loops share. `slot` lets one training run at a time; `poll_s` is how often they look.

    `releases_read` is the offset of the newest release record taken into `champions`, `staged` (what is in
    shadow or canary) and `rolled_back` (versions by model).
    """

    home: Path
    clock: Clock
    publisher: Sends
    runs: Runs
    child: Trains
    registrar: Registrar
    threads: int
    releases: Releases
    poll_s: float = 1.0
    slot: asyncio.Lock = field(default_factory=asyncio.Lock)
    champions: dict[str, Release] = field(default_factory=dict)
    staged: dict[str, Release] = field(default_factory=dict)
    rolled_back: dict[str, set[int]] = field(default_factory=dict)
    releases_read: int = -1
