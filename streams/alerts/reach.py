"""Who is told when: consumes an alert, the streams' configuration and people's orders, produces a decision.

Keeps nothing and knows no clock. Silences and acknowledgements are orders on `streams.control`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol

from schemas.config import Stream
from schemas.control import Control
from schemas.drift import DriftAlert, Severity
from schemas.hours import is_quiet

WORTH_TELLING: Final = timedelta(hours=24)


class Orders(Protocol):
    """What people asked for (`infra.runtime.control.Controls`)."""

    def silenced(self, stream: str, signal: str, now: datetime) -> Control | None: ...
    def acknowledged(self, alert: str) -> Control | None: ...


class Decision(Enum):
    """What a channel does with an alert now."""

    TELL = "tell"
    HOLD = "hold"
    DROP = "drop"


class Reach:
    """Decides for each channel.

    - What is older than a day is dropped: it would not help any more. So is an alert of a stream that leaves
      the channel out.
    - While its stream or signal is silenced an alert waits; so does a warning in the stream's quiet hours.
    - What somebody acknowledged is not told again on a further channel, nor what the same cause adds to it.
    - That a drift is over is told where its beginning was; where that still waits, neither is.
    """

    def __init__(self, streams: Mapping[str, Stream], orders: Orders) -> None:
        self._streams = streams
        self._orders = orders

    def take(self, streams: Mapping[str, Stream]) -> None:
        """Decide by other settings from here on."""
        self._streams = streams

    def decide(self, channel: str, alert: DriftAlert, now: datetime, told: Callable[[str], bool]) -> Decision:
        """Decide on one alert for one channel; `told` says whether an id was told there."""
        if now - alert.raised_at > WORTH_TELLING:
            return Decision.DROP
        if "test" in alert.evidence:
            return Decision.TELL
        stream = self._streams.get(alert.stream)
        if stream is not None and channel not in stream.drift.alert:
            return Decision.DROP
        if alert.recovered:
            return Decision.TELL if told(str(alert.evidence.get("alert"))) else Decision.DROP
        causes = (alert.id, str(alert.evidence.get("cause", "")))
        if any(cause and self._orders.acknowledged(cause) for cause in causes):
            return Decision.DROP
        if self._orders.silenced(alert.stream, alert.signal.value, now):
            return Decision.HOLD
        if stream is not None and alert.severity is Severity.WARNING and is_quiet(stream.drift.quiet, now):
            return Decision.HOLD
        return Decision.TELL
