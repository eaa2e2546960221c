"""One slot per model: a candidate is verified, loaded and warmed beside the champion, then takes over.

    Release ─▶ open ─▶ memory check ─▶ session ─▶ golden answers ─▶ candidate ─▶ take_over() ─▶ current

The old model needs no lock: whoever still answers with it holds it, and it is freed when the last lets go.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec
import psutil

from infra.runtime.object_store import StoreAway
from infra.runtime.release_cache import ReleaseCache
from schemas.clean import Clean
from schemas.errors import Retryable
from schemas.release import Manifest, Release
from schemas.rollout import Rollout, RolloutStage, within
from serving.batching import Policy
from serving.loading import Loading, Pause, at_once
from serving.predictor import Answer, BadAnswer, Predictor, Row, make
from serving.release import BadRelease, OpenRelease, at_hand, model_bytes, open_release

_MEMORY_FACTOR: Final = 3.0
_MEMORY_SPARE_BYTES: Final = 128 * 1024**2
_GOLDEN_WITHIN: Final = {"int8": 0.05, "int8-static": 0.05}
_GOLDEN_WITHIN_ELSE: Final = 2e-3
_CGROUP: Final = Path("/sys/fs/cgroup")

CHAMPION: Final = "champion"
CANARY: Final = "canary"


class Golden(msgspec.Struct, frozen=True):
    """Known inputs (texts, or readings in feature order) and the answers the trainer got for them."""

    inputs: list[str | list[float | None]]
    labels: list[str]
    scores: list[float]


class Limits(NamedTuple):
    """What a release must keep to: where its folder lies, and how long one answer may take.

    What lies in a release store instead comes by the `cache`.
    """

    store: Path | None = None
    p99_ms: float = float("inf")
    cache: ReleaseCache | None = None


@dataclass(frozen=True)
class Served:
    """A loaded model with the release it came from."""

    release: Release
    predictor: Predictor
    rows: tuple[Row, ...]
    expected: tuple[Answer, ...]
    tolerance: float
    load_ms: float = 0.0
    answer_ms: float = float("inf")
    """What one row alone takes of a core, as loading it has measured."""

    def check(self, within_ms: float = float("inf"), pause: Pause = at_once) -> float:
        """Answer the golden inputs, alone and together, with a `pause` after each; return `answer_ms`.

        An answer's time is this thread's processor time, which other work on the machine does not stretch;
        a model whose median answer is over the limit of its 99th percentile is surely too slow.

        Raises:
            BadRelease: an answer is not the trainer's, depends on its batch mates, or takes too long.
        """
        took_ms, alone = [], []
        try:
            for row in self.rows:
                began = time.thread_time()
                alone.append(self.predictor.predict([row])[0])
                took_ms.append((time.thread_time() - began) * 1000)
                pause()
            if median(took_ms) > within_ms:
                raise BadRelease(f"an answer takes {median(took_ms):.1f} ms, more than {within_ms:g}")
            single = self.predictor.policy is Policy.SINGLE  # then rows have no mates, by construction
            together = alone if single else self.predictor.predict(self.rows)
        except BadAnswer as error:
            raise BadRelease(f"golden inputs: {error}") from error
        for number, (expected, got, among) in enumerate(zip(self.expected, alone, together, strict=True)):
            allowed = self.tolerance * max(1.0, abs(expected.score))
            if got.label != expected.label or abs(got.score - expected.score) > allowed:
                raise BadRelease(f"golden input {number} is answered {tuple(got)}, not {tuple(expected)}")
            if among.label != got.label or abs(among.score - got.score) > 1e-5 * max(1.0, abs(got.score)):
                raise BadRelease(f"golden input {number} is answered otherwise in a batch: {tuple(among)}")
        return median(took_ms)


def load(release: Release, pool: ThreadPoolExecutor, limits: Limits, pause: Pause = at_once) -> Served:
    """Verify, load, warm and check a release. Blocks for hundreds of milliseconds, and for the pauses.

    Raises:
        BadRelease: it must not serve; the message says why.
        StoreAway: it is not here and its store does not answer.
    """
    began = time.perf_counter()
    here = at_hand(release, limits.cache, pause)
    _check_memory(model_bytes(here))
    store = limits.cache.folder if limits.cache is not None and here is not release else limits.store
    opened = open_release(here, store, pause)
    predictor = make(opened, pool)
    pause()
    rows, expected = _golden(opened)
    tolerance = _GOLDEN_WITHIN.get(opened.manifest.serve, _GOLDEN_WITHIN_ELSE)
    served = Served(release, predictor, rows, expected, tolerance)
    answer_ms = served.check(limits.p99_ms, pause)
    took_ms = (time.perf_counter() - began) * 1000
    return replace(served, load_ms=round(took_ms, 1), answer_ms=answer_ms)


class Second(NamedTuple):
    """A loaded version beside the champion, and the release on trial, which is either of the two."""

    served: Served
    trial: Release

    @property
    def rollout(self) -> Rollout:
        """Return the trial's terms.

        Raises:
            ValueError: the release is not on trial.
        """
        if self.trial.rollout is None:
            raise ValueError(f"{self.trial.model} {self.trial.version} is not on trial")
        return self.trial.rollout

    @property
    def answers(self) -> bool:
        """Return whether its answers are given, not only compared."""
        return self.rollout.stage is RolloutStage.CANARY

    @property
    def why(self) -> str:
        """Say why it answered in the champion's place."""
        return f"canary: {self.rollout.share:g} of the events, by {self.rollout.by}"

    def takes(self, event: Clean) -> bool:
        """Tell whether an event is among those that both versions answer."""
        terms = self.rollout
        return within(terms.share, self.trial.sha256, event.source, event.id, terms.by)

    def over(self, now: datetime) -> bool:
        """Tell whether it has had its time; a release that does not serve all events yet waits for a word."""
        return self.rollout.stage is RolloutStage.FULL and now >= self.rollout.until


class Slot:
    """The place of one model: `current` answers, a candidate waits for the gap between two batches.

    While a release is on trial, `second` is the other version, kept warm beside the one that serves. There
    are never more than two: whatever else is to be loaded, the second goes first.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, limits: Limits | None = None, loading: Loading | None = None
    ) -> None:
        self.current: Served | None = None
        self.second: Second | None = None
        self._candidate: Served | None = None
        self._entered: Second | None = None
        self._taken = asyncio.Event()
        self._taken.set()
        self._pool = pool
        self.limits = limits or Limits()
        self._loading = loading or Loading()

    @property
    def newest(self) -> Served | None:
        """Return the candidate, else the current model."""
        return self._candidate or self.current

    @property
    def digests(self) -> set[str]:
        """Return the sha256 of each release that is loaded here: in service, waiting, or beside it."""
        second = self.second.served if self.second else None
        return {one.release.sha256 for one in (self.current, self._candidate, second) if one is not None}

    async def load(self, release: Release) -> None:
        """Make a release the candidate; the current model goes on answering meanwhile.

        What is warm already, as the version that a rollback goes back to, is not loaded again.

        Raises:
            BadRelease: it must not serve; current model and earlier candidate are untouched.
            StoreAway: it cannot be fetched; the same.
        """
        await self._taken.wait()
        self._candidate = await self._warm(release)
        self._taken.clear()

    async def load_second(self, other: Release, trial: Release) -> None:
        """Keep another version warm beside the champion for a release's trial.

        Raises:
            BadRelease: it must not be asked, or memory does not do for two.
            StoreAway: it cannot be fetched.
        """
        served = await self._warm(other)
        entered = self.second is None or self.second.trial.rollout != trial.rollout
        self.second = Second(served, trial)
        if entered and trial.staged:
            self._entered = self.second

    def take_over(self) -> Served | None:
        """Let the candidate, if there is one, become current, and return it. Call between two batches."""
        served, self._candidate = self._candidate, None
        if served is not None:
            before, self.current = self.current, served
            self.second = self._beside(served, before)
            self._taken.set()
        return served

    def entered(self) -> Second | None:
        """Return, once, the second whose release entered shadow or canary here."""
        entered, self._entered = self._entered, None
        return entered

    def renew(self, release: Release) -> None:
        """Take note of a new announcement of the version that serves: its trial may be over with it."""
        if self.current is not None and self.current.release.sha256 == release.sha256:
            self.current = replace(self.current, release=release)
            if self.second is not None and not self.second.trial.staged:
                self.second = self._beside(self.current, self.second.served)

    def drop(self, version: int | None = None) -> None:
        """Let the second go: that of the release `version` in shadow or canary, or any."""
        if self.second is not None and (
            version is None or (self.second.trial.staged and self.second.trial.version == version)
        ):
            self.second = self._entered = None

    def _beside(self, serving: Served, before: Served | None) -> Second | None:
        """Return the second that goes with a version which serves from now on."""
        second, release = self.second, serving.release
        rollout = release.rollout
        if second is not None and second.trial.staged and second.rollout.against == release.version:
            return second
        if rollout is None or rollout.stage is not RolloutStage.FULL or not rollout.share:
            return None
        for other in (before, second.served if second else None):
            if other is not None and other.release.sha256 == rollout.against_sha256:
                return Second(other, release)
        return None

    async def _warm(self, release: Release) -> Served:
        second = self.second.served if self.second else None
        for known in (second, self.current):
            if known is not None and known.release.sha256 == release.sha256:
                return replace(known, release=release, load_ms=0.0)
        self.second = second = None  # its memory is needed
        try:
            work = partial(load, release, self._pool, self.limits)
            # Nobody waits for an answer of the first: it may have its share of the cores.
            return await (
                asyncio.to_thread(work, at_once) if self.current is None else self._loading.aside(work)
            )
        except (BadRelease, StoreAway):
            raise
        except Exception as error:  # whatever a candidate does to its loading, it is harmless to the champion
            raise BadRelease(f"loading it failed: {type(error).__name__}: {error}") from error


def verify_alive(served: Served) -> None:
    """Tell a poisonous row from a broken model: the model must still answer its golden inputs.

    Raises:
        Retryable: it does not; no row is to blame.
    """
    try:
        served.check()
    except BadRelease as error:
        name = f"{served.release.model} version {served.release.version}"
        raise Retryable(f"{name} no longer answers its golden inputs: {error}") from error


def _golden(opened: OpenRelease) -> tuple[tuple[Row, ...], tuple[Answer, ...]]:
    """Read the known inputs and answers, at least one."""
    manifest = opened.manifest
    try:
        golden = msgspec.json.decode(opened.golden, type=Golden)
    except msgspec.MsgspecError as error:
        raise BadRelease(f"golden inputs: {error}") from error
    if not len(golden.inputs) == len(golden.labels) == len(golden.scores) > 0:
        raise BadRelease("golden inputs: inputs, labels and scores must be equally many, and at least one")
    rows = tuple(_golden_row(manifest, given) for given in golden.inputs)
    return rows, tuple(Answer(*pair) for pair in zip(golden.labels, golden.scores, strict=True))


def _golden_row(manifest: Manifest, given: str | list[float | None]) -> Row:
    if isinstance(given, str):
        if manifest.family == "text":
            return given
    elif manifest.family == "sensor" and len(given) == len(manifest.features):
        pairs = zip(manifest.features, given, strict=True)
        return {name: value for name, value in pairs if value is not None}
    raise BadRelease(f"golden inputs: {given!r} is no input of this {manifest.family} model")


def _check_memory(graph_bytes: int) -> None:
    """Refuse a model that would push this machine, or this container, out of memory."""
    needed = _MEMORY_FACTOR * graph_bytes + _MEMORY_SPARE_BYTES
    available = psutil.virtual_memory().available
    within = _container_bytes()
    if within is not None:
        available = min(available, within)
    if needed > available:
        raise BadRelease(
            f"loading it takes about {needed / 2**20:.0f} MiB and {available / 2**20:.0f} MiB are available"
        )


def _container_bytes() -> int | None:
    """Return what this container's memory limit leaves, cached files not counted, if there is a limit."""
    if not (_CGROUP / "memory.max").is_file():
        return None
    limit = (_CGROUP / "memory.max").read_text().strip()
    if not limit.isdigit():
        return None
    used = int((_CGROUP / "memory.current").read_text())
    lines = (line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    cached = sum(int(value) for name, value in lines if name in {"inactive_file", "active_file"})
    return int(limit) - used + cached
