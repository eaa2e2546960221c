"""What the gateway is started with beyond the settings: its port, its limits and how much it logs.

HEADRACE_GATEWAY_PORT        listen on exactly this port (0: any free one); default 8080 where it is free
HEADRACE_GATEWAY_ACCESS_LOG  `off`, `debug` (default) or `info`: the level of a served request's line
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, cast

from schemas.errors import Fatal

AccessLog = Literal["off", "debug", "info"]


@dataclass(frozen=True)
class Options:
    """Limits of the gateway. A request beyond one of them is refused, never half-taken."""

    port: int | None = None
    access_log: AccessLog = "debug"
    max_body_bytes: int = 16 * 1024 * 1024
    max_events: int = 20_000
    max_pending: int = 50_000
    body_timeout_s: float = 15.0
    publish_timeout_s: float = 10.0
    check_timeout_s: float = 1.5

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the options of this process.

        Raises:
            Fatal: a value is out of its range.
        """
        port = environ.get("HEADRACE_GATEWAY_PORT", "").strip()
        if port and not (port.isdecimal() and int(port) < 65536):
            raise Fatal(f"HEADRACE_GATEWAY_PORT is {port!r}; give a port from 0 (any free one) to 65535")
        log = environ.get("HEADRACE_GATEWAY_ACCESS_LOG", "debug").strip().lower()
        if log not in {"off", "debug", "info"}:
            raise Fatal(f"HEADRACE_GATEWAY_ACCESS_LOG is {log!r}; give off, debug or info")
        return cls(port=int(port) if port else None, access_log=cast("AccessLog", log))
