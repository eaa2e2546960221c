"""What a channel is: a way to tell people of an alert. Consumes alerts one by one, produces outcomes."""

from collections.abc import Callable
from typing import Protocol

from schemas.drift import DriftAlert
from streams.alerts.persistence import Outcome

Place = Callable[[DriftAlert], str]
"""Tells where the page of an alert is to be found; empty where there is none."""


def nowhere(_alert: DriftAlert) -> str:
    """Tell that there are no pages."""
    return ""


class Channel(Protocol):
    """One way to tell people."""

    @property
    def name(self) -> str:
        """The channel's name in `headrace.toml`."""
        ...

    async def tell(self, alert: DriftAlert, *, give_up_after_s: float) -> Outcome:
        """Tell of an alert, or that it is over; tries again until it is taken or clearly refused."""
        ...

    async def close(self) -> None:
        """Give up what is held open."""
        ...
