"""Which events take part in a trial: the same for everybody, whole sources where asked."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.release import Release, State, on_trial
from schemas.rollout import By, Rollout, RolloutStage, within

SHARES = st.floats(0.0, 1.0)
TEXTS = st.text(max_size=20)
SALT = "ab" * 32
DRAWN = [0, 7, 20, 33, 35, 36, 38, 44, 45]


@given(SHARES, SHARES, TEXTS, TEXTS, st.sampled_from(By))
def test_what_is_within_a_share_is_within_every_larger_one(
    first: float, second: float, source: str, id: str, by: By
) -> None:
    """A canary that grows keeps the events, or sources, that it had."""
    small, large = sorted((first, second))
    assert within(small, SALT, source, id, by) <= within(large, SALT, source, id, by)


@given(SHARES, TEXTS, TEXTS, TEXTS)
def test_by_source_a_source_is_whole(share: float, source: str, one: str, other: str) -> None:
    """All events of a source are answered by one version."""
    assert within(share, SALT, source, one, By.SOURCE) == within(share, SALT, source, other, By.SOURCE)


@given(TEXTS, TEXTS, st.sampled_from(By))
def test_nothing_and_everything(source: str, id: str, by: By) -> None:
    """A share of 0 has no event and one of 1 has all."""
    assert not within(0.0, SALT, source, id, by)
    assert within(1.0, SALT, source, id, by)


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_share_is_as_large_as_asked(share: float, by: By) -> None:
    """Of 20,000 events the share is within four standard errors, drawn anew for each release."""
    events = [(f"/shop/{number}", f"e{number}") for number in range(20_000)]
    drawn = [within(share, SALT, *event, by) for event in events]
    again = [within(share, "cd" * 32, *event, by) for event in events]
    assert abs(sum(drawn) - 20_000 * share) < 4 * (20_000 * share * (1 - share)) ** 0.5
    both = sum(a and b for a, b in zip(drawn, again, strict=True))
    assert abs(both - 20_000 * share**2) < 5 * (20_000 * share**2) ** 0.5 + 1


def test_the_share_is_the_same_for_ever() -> None:
    """Another build draws the same events: these were drawn when it was written."""
    drawn = [number for number in range(60) if within(0.1, SALT, "/shop/1", f"r{number}")]
    assert drawn == DRAWN


def test_source_and_id_are_kept_apart() -> None:
    """Two identities that read alike when joined are drawn apart."""
    pairs = [(within(0.5, SALT, "a" * n, "b"), within(0.5, SALT, "a" * (n - 1), "ab")) for n in range(1, 60)]
    assert any(one != other for one, other in pairs)


def test_a_share_is_a_share() -> None:
    """More than all is a mistake."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        within(1.5, SALT, "a", "b")


def _release(version: int, rollout: Rollout | None = None, state: State = State.RELEASED) -> Release:
    at = datetime(2026, 3, 14, tzinfo=UTC)
    return Release(
        model="m", stream="m", version=version, uri="", sha256=f"{version}", state=state, created_at=at,
        rollout=rollout,
    )  # fmt: skip


def test_a_staged_release_is_on_trial_while_its_opponent_serves() -> None:
    """Once another version serves, by whomever's wish, it is no longer."""
    since = datetime(2026, 3, 14, tzinfo=UTC)
    terms = Rollout(
        stage=RolloutStage.CANARY, share=0.1, against=1, against_sha256="1", since=since, window_s=60.0
    )
    staged = _release(2, terms)
    assert staged.staged
    assert on_trial(_release(1), staged) is staged
    assert on_trial(_release(3), staged) is None
    assert on_trial(None, staged) is None
    assert on_trial(_release(1), _release(2)) is None
    assert not _release(2, terms, State.ROLLED_BACK).staged
