"""The one tree of errors, and the reasons an event can be turned away for.

HeadraceError
├── Rejected    this event cannot be used; it goes to `events.dead`, the rest of its batch goes on
├── Retryable   the surroundings failed (a broker, a database); try again with backoff
└── Fatal       going on would lose or double something; stop and say what to do
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why an event was turned away: the stable code that dashboards and replays filter by."""

    EMPTY = "empty"
    OVERSIZED = "oversized"
    INVALID_UTF8 = "invalid_utf8"
    MALFORMED_JSON = "malformed_json"
    NOT_CLOUDEVENTS = "not_cloudevents"
    UNKNOWN_SPECVERSION = "unknown_specversion"
    MISSING_ID = "missing_id"
    MISSING_SOURCE = "missing_source"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_STREAM = "unknown_stream"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_OLD = "too_old"
    IN_THE_FUTURE = "in_the_future"
    MISSING_VALUE = "missing_value"
    OUT_OF_RANGE = "out_of_range"
    OUTLIER = "outlier"
    POISON = "poison"


class HeadraceError(Exception):
    """Base of every error that Headrace raises on purpose."""


class Rejected(HeadraceError):
    """One event cannot be used.

    `reason` is the stable code, `field` the path of the offending field (`data.values.cpu`, empty when the
    whole message is at fault), `message` says what is wrong and what would be right.
    """

    def __init__(self, reason: Reason, message: str, field: str = "") -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message
        self.field = field


class Retryable(HeadraceError):
    """Something around us failed and may work again; nothing was half-written."""


class Fatal(HeadraceError):
    """Going on would break a promise; the message says what the operator should do."""
