"""The circuit breaker: closed, open, half-open, by a clock of its own."""

from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from schemas.errors import Retryable
from schemas.gateway import Breakers
from serving.gateway.breaker import Away, Breaker, State


class Watch:
    """Monotonic time that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    """A clock."""
    return Watch()


@pytest.fixture
def breaker(watch: Watch) -> Breaker:
    """A circuit that opens after three failures, for two seconds."""
    return Breaker("test", lambda: Breakers(failures=3, pause=2), monotonic=watch)


def ask(breaker: Breaker, error: BaseException | None = None) -> None:
    """Make one call that works or fails."""
    with breaker.call():
        if error is not None:
            raise error


def fail(breaker: Breaker, times: int, error: Callable[[], Exception] = lambda: Retryable("away")) -> None:
    """Make calls that fail."""
    for _ in range(times):
        with pytest.raises(Retryable):
            ask(breaker, error())


def meanwhile(breaker: Breaker) -> None:
    """Make a call that fails in the end, while others come."""
    with breaker.call():
        assert breaker.state is State.HALF_OPEN
        with pytest.raises(Away):
            ask(breaker)
        raise Retryable("still away")


def test_it_opens_after_failures_in_a_row(breaker: Breaker):
    """A success between them starts the count anew; open, nothing is asked and callers hear for how long."""
    fail(breaker, 2)
    ask(breaker)
    fail(breaker, 2)
    ask(breaker)
    fail(breaker, 3)
    assert breaker.state is State.OPEN
    with pytest.raises(Away) as caught:
        ask(breaker)
    assert caught.value.again_in_s == 2


def test_one_caller_tries_and_decides(breaker: Breaker, watch: Watch):
    """After the pause one call goes through and others wait for its outcome: open again, or closed."""
    fail(breaker, 3)
    watch.now_s = 2.0
    with pytest.raises(Retryable, match="still away"):
        meanwhile(breaker)
    with pytest.raises(Away):
        ask(breaker)
    watch.now_s = 4.0
    ask(breaker)
    assert breaker.state is State.CLOSED


def test_an_answer_that_refuses_is_an_answer(breaker: Breaker):
    """What is no failure of the dependency counts as that it works."""
    fail(breaker, 2)
    with pytest.raises(ValueError, match="wrong"):
        ask(breaker, ValueError("wrong question"))
    fail(breaker, 2)
    assert breaker.state is State.CLOSED


def test_a_caller_that_goes_away_leaves_the_trial_to_the_next(breaker: Breaker, watch: Watch):
    """A cancelled trial must not keep the circuit half-open for ever."""
    fail(breaker, 3)
    watch.now_s = 2.0
    with pytest.raises(KeyboardInterrupt):
        ask(breaker, KeyboardInterrupt())
    ask(breaker)
    assert breaker.state is State.CLOSED


def test_what_fails_late_says_nothing_new(breaker: Breaker, watch: Watch):
    """Calls from before the circuit opened neither keep it open longer nor decide for the one that tries."""
    early = [ExitStack() for _ in range(2)]
    for one in early:
        one.enter_context(breaker.call())
    fail(breaker, 3)
    watch.now_s = 1.5
    ended_badly(early[0])
    watch.now_s = 2.0
    with breaker.call():
        ended_badly(early[1])
        assert breaker.state is State.HALF_OPEN
    ask(breaker)
    assert breaker.state.value == "closed"


def ended_badly(call: ExitStack) -> None:
    """End a call that was begun before, as one that failed."""
    error = Retryable("late")
    with suppress(Retryable):
        call.__exit__(Retryable, error, None)
