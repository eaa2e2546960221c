"""How a release comes into service, and which events take part: an event's identity in, a yes or no out.

    released ─▶ (shadow) ─▶ (canary) ─▶ full, with the version before it asked too, for a while

Trainers write it into a release, serving follows it; the same event takes part on every worker and on replay.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b

import msgspec

from schemas.record import Moment


class By(StrEnum):
    """Whether a share is drawn event by event or source by source."""

    ID = "id"
    SOURCE = "source"


class RolloutStage(StrEnum):
    """How far a release has come: it answers nothing that is read, a share of the events, or all of them."""

    SHADOW = "shadow"
    CANARY = "canary"
    FULL = "full"


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release on trial against the version that serves or served before it.

    Both answer a `share` of the events for `window_s` seconds from `since`: in `shadow` and `full` the one
    that does not serve answers aside, in `canary` the candidate answers and the champion aside.
    """

    stage: RolloutStage
    share: float
    by: By = By.ID
    against: int
    against_sha256: str
    since: Moment
    window_s: float

    @property
    def until(self) -> datetime:
        """Return when the window ends."""
        return self.since + timedelta(seconds=self.window_s)


def within(share: float, salt: str, source: str, id: str, by: By = By.ID) -> bool:
    """Tell whether an event, or its whole source, is among a share of all.

    A hash decides, so that every worker and every replay say the same, and what is within a share is within
    every larger one. `salt` (a release's sha256) draws anew for each release.

    Raises:
        ValueError: `share` is not from 0 to 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share is from 0 to 1, not {share:g}")
    # The length keeps apart what source and id together spell alike.
    text = source if by is By.SOURCE else f"{len(source)}:{source}{id}"
    digest = blake2b(text.encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64
