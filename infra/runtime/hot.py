"""Settings that change while a worker runs: `headrace.toml` in, its hot keys to those who heed them out.

    file ─▶ parsed, validated ─▶ compared with what runs ─▶ takers, all or none ─▶ log, metric, audit

The file is looked at once a second. One that is wrong changes nothing, and neither does one that a taker
cannot work by: what held is put back. `schemas.hot` says which keys a worker takes over; what it heeds but
cannot take over is named, and waits for its restart.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel

from infra.runtime import log, metrics
from infra.runtime.audit import Trail
from infra.runtime.clock import SystemClock
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings, config_path, parse
from schemas.config import Headrace
from schemas.errors import Fatal
from schemas.hot import WORKERS, Heeded, Key
from schemas.record import Coordinates, Outgoing

FILE: Final = "headrace.toml"
_EVERY_S: Final = 1.0
_log = log.get_logger(__name__)

Taker = Callable[[Headrace], None]
"""Goes on by other settings from here on; it raises where it cannot, and is then given the old ones again."""

Model = TypeVar("Model", bound=BaseModel)


class Watched:
    """One file: tells its contents when they differ from those that were seen last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._hash = b""

    def changed(self) -> bytes | None:
        """Return new contents; None where there are none, or the file is away."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return None
            content = self._path.read_bytes()
        except OSError:
            return None
        self._stamp = stamp
        seen, self._hash = self._hash, sha256(content).digest()
        return content if self._hash != seen else None


class Changes(NamedTuple):
    """The keys that differ from what runs and that a worker heeds, by what it takes to apply them."""

    hot: tuple[str, ...]
    cold: tuple[str, ...]

    def __str__(self) -> str:
        told = (("taken over", self.hot), ("needs a restart", self.cold))
        return "; ".join(f"{what}: {', '.join(keys)}" for what, keys in told if keys)


class Hot:
    """The settings of one worker as they are now. `takers` hear of every change of a hot key."""

    def __init__(self, path: Path, running: Headrace, worker: str, trail: Trail) -> None:
        self.config = running
        self._path = path
        self._worker = worker
        self._level = level_of(running, worker)
        self._heeded = WORKERS[worker]
        self._trail = trail
        self._takers: list[Taker] = []
        self._file = Watched(path)
        self._file.changed()
        metrics.set_settings_valid(FILE, valid=True)

    def tell(self, taker: Taker) -> None:
        """Let a taker hear of changes from here on."""
        self._takers.append(taker)

    @contextmanager
    def telling(self, taker: Taker) -> Iterator[None]:
        """Let a taker hear of changes for the length of a block."""
        self._takers.append(taker)
        try:
            yield
        finally:
            self._takers.remove(taker)

    async def follow(self) -> None:
        """Watch until cancelled."""
        _log.info("config.watched", path=str(self._path))
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                self.poll()
            except Exception:  # noqa: BLE001  # one that watches no more would keep wrong settings for good
                _log.exception("config.unwatched", again_in_s=_EVERY_S)
            await self._trail.flush()

    def poll(self) -> None:
        """Look at the file once."""
        content = self._file.changed()
        if content is None:
            return
        try:
            wanted = parse(content.decode(), str(self._path))
        except (Fatal, UnicodeDecodeError, RecursionError) as error:
            self._refuse(error)
            return
        config, changes = merged(self.config, wanted, self._heeded)
        try:
            self._apply(config)
        except Exception as error:  # noqa: BLE001  # whatever it is, the old settings are known to work
            self._apply(self.config)
            self._refuse(error)
            return
        self.config = config
        metrics.set_settings_valid(FILE, valid=True)
        tell = _log.warning if changes.cold else _log.info
        tell("config.reloaded", taken_over=changes.hot, needs_restart=changes.cold)
        if changes.hot or changes.cold:
            self._trail.changed("config.reloaded", "done", str(changes))

    def _apply(self, config: Headrace) -> None:
        level = level_of(config, self._worker)
        if level != self._level:
            log.set_level(level)
            self._level = level
        for taker in self._takers:
            taker(config)

    def _refuse(self, error: Exception) -> None:
        metrics.set_settings_valid(FILE, valid=False)
        reason = str(error) or type(error).__name__
        _log.error("config.refused", error=reason, in_force="the settings from before")
        self._trail.changed("config.reloaded", "refused", reason[:500])


def level_of(config: Headrace, worker: str) -> str | None:
    """Return a worker's log level; None leaves it to the environment."""
    own = config.gateway.log_level if worker == "gateway" else ""
    return own or config.log_level or None


@asynccontextmanager
async def watched(settings: Settings, worker: str, *takers: Taker) -> AsyncIterator[Hot]:
    """Take over what changes, for the length of a block."""
    hot = hot_of(settings, worker)
    for taker in takers:
        hot.tell(taker)
    following = asyncio.create_task(hot.follow(), name=f"{worker}-settings")
    try:
        yield hot
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def hot_of(settings: Settings, worker: str) -> Hot:
    """Return a worker's settings, which somebody else has to `follow`."""
    trail = Trail(_Seldom(settings), settings.home, SystemClock(), worker)
    return Hot(config_path(), settings.config, worker, trail)


def merged(running: Headrace, wanted: Headrace, heeded: Heeded) -> tuple[Headrace, Changes]:
    """Return what runs with the hot keys of what is wanted, and which keys differ."""
    found: list[Key] = []
    config = _merged(running, wanted, heeded, (), found)
    hot = sorted(".".join(key) for key in found if heeded.takes(key))
    cold = sorted(".".join(key) for key in found if heeded.needs_restart(key))
    return config, Changes(tuple(hot), tuple(cold))


def _merged(running: Model, wanted: Model, heeded: Heeded, prefix: Key, found: list[Key]) -> Model:
    update: dict[str, Any] = {}
    for name in type(running).model_fields:
        old, new = getattr(running, name), getattr(wanted, name)
        if old == new:
            continue
        key = (*prefix, name)
        if isinstance(old, BaseModel) and isinstance(new, BaseModel):
            update[name] = _merged(old, new, heeded, key, found)
        elif isinstance(old, dict) and any(isinstance(one, BaseModel) for one in old.values()):
            found.extend((*key, other) for other in old.keys() ^ new.keys())
            update[name] = {
                one: _merged(section, new[one], heeded, (*key, one), found) if one in new else section
                for one, section in old.items()
            }
        else:
            found.append(key)
            if heeded.takes(key):
                update[name] = new
    return running.model_copy(update=update)


class _Seldom:
    """Publishes by a connection made for it: settings change a few times a day."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        """Publish records and return their coordinates, in order, once all are acknowledged."""
        async with Publisher(self._settings, "headrace-settings") as publisher:
            return await publisher.send_all(records)
