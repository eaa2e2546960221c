"""The webhook: consumes an alert's message, posts it until it is taken or clearly refused."""

import asyncio
from enum import StrEnum
from typing import Any, Final

import httpx
from pydantic import SecretStr

from infra.runtime.log import get_logger

_log = get_logger(__name__)
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 60.0
_RETRIED: Final = (408, 425, 429)


class Outcome(StrEnum):
    """How a post ended."""

    TAKEN = "taken"
    REFUSED = "refused"
    EXPIRED = "expired"


class Webhook:
    """Posts JSON to one address, which is a secret and never logged.

    `Idempotency-Key` carries the alert's id: a receiver that answered while this process died can tell the
    second post from a new alert.
    """

    def __init__(self, url: SecretStr, timeout_s: float) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)

    async def post(self, id: str, body: dict[str, Any], *, give_up_after_s: float) -> Outcome:
        """Post with growing pauses; 4xx answers other than 408, 425 and 429 are final."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + give_up_after_s
        backoff_s = _FIRST_BACKOFF_S
        while True:
            failure, asked_s = await self._try(id, body)
            if failure == "":
                return Outcome.TAKEN
            if failure.startswith("HTTP 4") and int(failure[5:]) not in _RETRIED:
                _log.error("webhook.refused", alert=id, answer=failure)
                return Outcome.REFUSED
            if loop.time() > deadline:
                _log.error("webhook.given_up", alert=id, failure=failure)
                return Outcome.EXPIRED
            pause_s = min(max(backoff_s, asked_s), _LAST_BACKOFF_S)
            _log.warning("webhook.failed", alert=id, failure=failure, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)

    async def _try(self, id: str, body: dict[str, Any]) -> tuple[str, float]:
        """Post once; returns what failed (empty when taken) and for how long the receiver asks to wait."""
        try:
            answer = await self._client.post(
                self._url.get_secret_value(), json=body, headers={"Idempotency-Key": id}
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return type(error).__name__, 0.0  # the message could hold the address
        if answer.is_success:
            return "", 0.0
        asked = answer.headers.get("Retry-After", "")
        return f"HTTP {answer.status_code}", float(asked) if asked.isdigit() else 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
