"""A circuit breaker (Nygard, Release It!): calls of one dependency in, refusals while it is away out.

Closed while calls work. After so many failures in a row it opens, and callers are told at once, instead of
each waiting for a timeout. After a pause one caller tries (half-open): if that works, it is closed again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from infra.runtime import metrics
from infra.runtime.log import get_logger
from schemas.errors import Retryable
from schemas.gateway import Breakers

_log = get_logger(__name__)


class State(StrEnum):
    """Of a circuit, as for a current: closed lets through."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Away(Retryable):
    """The dependency was away a moment ago and is not asked now; worth another try after `again_in_s`."""

    def __init__(self, dependency: str, again_in_s: float) -> None:
        super().__init__(f"{dependency} does not answer; it is tried again in {again_in_s:.1f} s")
        self.again_in_s = again_in_s


class Breaker:
    """The circuit of one dependency. `settings` is asked each time, since it may change meanwhile."""

    def __init__(
        self,
        dependency: str,
        settings: Callable[[], Breakers],
        *,
        failures: tuple[type[BaseException], ...] = (Retryable, TimeoutError, OSError),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dependency = dependency
        self._settings = settings
        self._failures = failures
        self._monotonic = monotonic
        self._failed = 0
        self._open_until = 0.0
        self.state = State.CLOSED
        metrics.set_circuit(dependency, self.state.value)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Ask the dependency in a block; what the block raises says whether it worked.

        Only the failures that were named count. Any other error is an answer, and a caller that goes away in
        the middle says nothing: then the next one tries. What fails late, of calls from before the circuit
        opened, says nothing new.

        Raises:
            Away: it is not asked now.
        """
        trial = self._enter()
        try:
            yield
        except self._failures:
            if trial or self.state is State.CLOSED:
                self._fail()
            raise
        except Exception:
            self._work()
            raise
        except BaseException:
            if trial:
                self._become(State.OPEN)
            raise
        self._work()

    def _enter(self) -> bool:
        """Tell whether this call is the one that tries."""
        if self.state is State.CLOSED:
            return False
        left_s = self._open_until - self._monotonic()
        if self.state is State.HALF_OPEN or left_s > 0:
            raise Away(self._dependency, max(left_s, 0.1))
        self._become(State.HALF_OPEN)
        return True

    def _fail(self) -> None:
        settings = self._settings()
        self._failed += 1
        if self.state is State.HALF_OPEN or self._failed >= settings.failures:
            self._open_until = self._monotonic() + settings.pause
            self._become(State.OPEN)

    def _work(self) -> None:
        self._failed = 0
        self._become(State.CLOSED)

    def _become(self, state: State) -> None:
        if state is self.state:
            return
        before, self.state = self.state, state
        metrics.set_circuit(self._dependency, state.value)
        if state is State.CLOSED:
            _log.info("circuit.closed", dependency=self._dependency)
        elif before is State.CLOSED:
            _log.warning("circuit.opened", dependency=self._dependency, again_in_s=self._settings().pause)
