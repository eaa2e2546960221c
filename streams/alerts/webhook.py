"""The webhook channel: consumes alerts, posts them in the form that Slack and its likes show."""

from functools import partial

from pydantic import SecretStr

from schemas.drift import DriftAlert
from streams.alerts.channel import Place, nowhere
from streams.alerts.message import message
from streams.alerts.persistence import Outcome, persist
from streams.alerts.post import Poster


class Webhook:
    """Posts to one address, which is a secret and never logged.

    `Idempotency-Key` carries the alert's id: a receiver that answered while this process died can tell the
    second post from a new alert.
    """

    name = "webhook"

    def __init__(self, url: SecretStr, timeout_s: float, place: Place = nowhere) -> None:
        self._place = place
        self._poster = Poster(url, timeout_s)

    async def tell(self, alert: DriftAlert, *, give_up_after_s: float) -> Outcome:
        """Post an alert."""
        body = message(alert, self._place(alert))
        post = partial(self._poster.post, body, {"Idempotency-Key": alert.id})
        return await persist(self.name, alert.id, post, give_up_after_s=give_up_after_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()
