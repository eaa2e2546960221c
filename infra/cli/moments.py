"""Moments as they are typed: `30m`, `2h` or ISO 8601 in, an aware UTC time out."""

from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime, option: str) -> datetime:
    """Read how long ago, or when; a time without a zone is UTC.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text[:-1].isdecimal() and text[-1:] in _UNITS:
        return now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither how long ago (30m, 2h, 1d) nor a time such as 2026-03-14T09:00:00Z",
            param_hint=option,
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
