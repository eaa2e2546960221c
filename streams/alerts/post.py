"""Posts JSON to one address, which is a secret: consumes bodies, produces attempts for `persist`."""

from typing import Any, Final

import httpx
from pydantic import SecretStr

from streams.alerts.persistence import Attempt

_RETRIED: Final = (408, 425, 429)


class Poster:
    """An HTTP client for one address; 4xx answers other than 408, 425 and 429 are final."""

    def __init__(self, url: SecretStr, timeout_s: float) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)

    async def post(self, body: Any, headers: dict[str, str] | None = None) -> Attempt:
        """Post once."""
        try:
            answer = await self._client.post(self._url.get_secret_value(), json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Attempt(type(error).__name__)  # the message could hold the address
        if answer.is_success:
            return Attempt()
        status = answer.status_code
        asked = answer.headers.get("Retry-After", "")
        final = 400 <= status < 500 and status not in _RETRIED
        return Attempt(f"HTTP {status}", final, float(asked) if asked.isdigit() else 0.0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
