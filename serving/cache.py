"""Remembers answers: masked texts in, known answers out, first from this process, then from Redis.

It is exact, because an answer depends on the masked text and the release alone, and both are the key: a
128-bit BLAKE2b of the text, keyed by the release's sha256. Redis is a help and never a condition: it gets a
few milliseconds, and after a failure it is left alone for a growing while.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from infra.runtime.log import get_logger
from serving.predictor import Answer

_log = get_logger(__name__)
_DIGEST_BYTES: Final = 16
_FIRST_BACKOFF_S: Final = 1.0
_LAST_BACKOFF_S: Final = 60.0
_PAYS: Final = 0.05
_PASSED_OVER: Final = 15
_REMEMBERED: Final = 64
_GATHER_S: Final = 0.02
_UNWRITTEN: Final = 8192

Key = bytes


def keys(sha256: str, texts: Sequence[str]) -> list[Key]:
    """Return the key of each text under a release."""
    release = bytes.fromhex(sha256)
    return [blake2b(text.encode(), digest_size=_DIGEST_BYTES, key=release).digest() for text in texts]


class Local:
    """A bounded memory of answers in this process; the least recently used goes first."""

    def __init__(self, size: int = 65_536) -> None:
        self._size = size
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    def get(self, key: Key) -> Answer | None:
        """Return an answer and keep it longer."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: Answer) -> None:
        """Remember an answer."""
        self._answers[key] = answer
        self._answers.move_to_end(key)
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def __len__(self) -> int:
        return len(self._answers)


class Circuit:
    """Closed while things work; after a failure open for a while that doubles with each further one."""

    def __init__(self) -> None:
        self._open_until = 0.0
        self._backoff_s = _FIRST_BACKOFF_S

    def allows(self, now_s: float) -> bool:
        """Tell whether to try."""
        return now_s >= self._open_until

    def failed(self, now_s: float) -> float:
        """Open the circuit and return for how many seconds."""
        pause_s = self._backoff_s
        self._open_until = now_s + pause_s
        self._backoff_s = min(2 * pause_s, _LAST_BACKOFF_S)
        return pause_s

    def worked(self) -> None:
        """Forget earlier failures."""
        self._backoff_s = _FIRST_BACKOFF_S


class Worth:
    """Tells whether a look-up pays, by the share of keys that were known lately.

    A look-up costs about a twentieth of an answer, whatever it finds. Where nothing repeats, only every
    sixteenth is made, to notice when that changes.
    """

    def __init__(self) -> None:
        self._share = 1.0
        self._passed_over = 0

    def pays(self, wanted: int) -> bool:
        """Tell whether to look so many keys up."""
        if wanted * self._share < _PAYS and self._passed_over < _PASSED_OVER:
            self._passed_over += 1
            return False
        self._passed_over = 0
        return True

    def found(self, wanted: int, known: int) -> None:
        """Take note of a look-up."""
        self._share += min(1.0, wanted / _REMEMBERED) * (known / wanted - self._share)


class Shared:
    """The answers in Redis, for all workers and over restarts."""

    def __init__(self, url: str, *, prefix: str = "", ttl_s: int = 86_400, patience_s: float = 0.02) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
            max_connections=4,
        )
        self._prefix = f"{prefix}headrace/answer/".encode()
        self._ttl_ms = ttl_s * 1000
        self._patience_s = patience_s
        self._circuit = Circuit()
        self._worth = Worth()
        self._unwritten: dict[Key, Answer] = {}
        self._writing: asyncio.Task[None] | None = None

    async def get(self, wanted: Sequence[Key]) -> dict[Key, Answer]:
        """Return the answers that Redis has, in one round trip; none when it is away, too slow or no help."""
        if not wanted or not self._circuit.allows(time.monotonic()) or not self._worth.pays(len(wanted)):
            return {}
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._redis.mget([self._prefix + key for key in wanted])
        except (RedisError, OSError, TimeoutError) as error:
            self._open(error)
            return {}
        self._circuit.worked()
        answers = {}
        for key, value in zip(wanted, found, strict=True):
            answer = _decode(value)
            if answer is not None:
                answers[key] = answer
        self._worth.found(len(wanted), len(answers))
        return answers

    def put(self, answers: Mapping[Key, Answer]) -> None:
        """Write answers in the background, many at once; what Redis is too slow for is left out."""
        if not answers or not self._circuit.allows(time.monotonic()):
            return
        if len(self._unwritten) < _UNWRITTEN:
            self._unwritten.update(answers)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Let writes in hand end, and disconnect."""
        if self._writing is not None:
            await self._writing
        await self._redis.aclose()

    async def _write(self) -> None:
        await asyncio.sleep(_GATHER_S)
        while self._unwritten:
            answers, self._unwritten = self._unwritten, {}
            await self._send(answers)

    async def _send(self, answers: Mapping[Key, Answer]) -> None:
        try:
            async with asyncio.timeout(1.0), self._redis.pipeline(transaction=False) as pipeline:
                for key, answer in answers.items():
                    pipeline.set(self._prefix + key, msgspec.msgpack.encode(answer), px=self._ttl_ms)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._open(error)

    def _open(self, error: Exception) -> None:
        pause_s = self._circuit.failed(time.monotonic())
        _log.warning("cache.unavailable", error=str(error) or type(error).__name__, again_in_s=pause_s)


class Cache:
    """Both memories as one."""

    def __init__(self, local: Local, shared: Shared | None = None) -> None:
        self._local = local
        self._shared = shared

    async def get(self, wanted: Sequence[Key]) -> dict[Key, Answer]:
        """Return the known answers."""
        known = {key: answer for key in wanted if (answer := self._local.get(key)) is not None}
        if self._shared is not None and len(known) < len(wanted):
            far = await self._shared.get([key for key in dict.fromkeys(wanted) if key not in known])
            for key, answer in far.items():
                self._local.put(key, answer)
            known.update(far)
        return known

    def put(self, answers: Mapping[Key, Answer]) -> None:
        """Remember fresh answers in both."""
        for key, answer in answers.items():
            self._local.put(key, answer)
        if self._shared is not None:
            self._shared.put(answers)

    async def close(self) -> None:
        """Disconnect from Redis."""
        if self._shared is not None:
            await self._shared.close()


def _decode(value: bytes | None) -> Answer | None:
    """Read an answer; what is no answer counts as unknown."""
    if value is None:
        return None
    try:
        return msgspec.msgpack.decode(value, type=Answer)
    except msgspec.MsgspecError:
        return None


class Found(NamedTuple):
    """What the cache knows of some texts: each key, the known answers, each unseen text once."""

    wanted: list[Key]
    known: dict[Key, Answer]
    unseen: dict[Key, str]


async def look_up(cache: Cache, sha256: str, texts: Sequence[str]) -> Found:
    """Look texts up under a release."""
    wanted = keys(sha256, texts)
    known = await cache.get(wanted)
    return Found(
        wanted, known, {key: text for key, text in zip(wanted, texts, strict=True) if key not in known}
    )
