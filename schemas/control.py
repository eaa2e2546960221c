"""What operators asked for, on `streams.control`: pauses, resets, silenced alerts, with who and why.

Every worker reads the topic to its end before it takes an event, and follows it. The newest record of a key
counts; the topic is compacted, so it holds the present state for ever and the history for a while.
"""

from enum import StrEnum

from schemas.record import Contract, Moment


class Scope(StrEnum):
    """What an order is about."""

    STAGE = "stage"
    STREAM = "stream"
    ALERT = "alert"


class Action(StrEnum):
    """What is to be done, or was done."""

    PAUSED = "paused"
    RESUMED = "resumed"
    RESET = "reset"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    ACKNOWLEDGED = "acknowledged"


class Stage(StrEnum):
    """The stages that can be paused, in the order of an event's way."""

    CLEAN = "clean"
    SINK = "sink"
    INFERENCE = "inference"


class Control(Contract, frozen=True, kw_only=True):
    """One order. `name` is a stage's (`clean`, `sink`, `inference`) or a stream's of `headrace.toml`.

    Of alerts, it is a stream's or `stream/signal` for a silence, which ends at `until`, and the alert's id
    for an acknowledgement. Of a reset, `before` and `after` map `topic:partition` to the group's next offset.
    """

    scope: Scope
    name: str
    action: Action
    by: str
    reason: str = ""
    at: Moment
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    until: Moment | None = None

    def key(self) -> str:
        """Return the record's key: a reset does not replace the word on whether its stage is paused."""
        suffix = "/reset" if self.action is Action.RESET else ""
        return f"{self.scope.value}/{self.name}{suffix}"
