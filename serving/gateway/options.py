"""What the gateway is started with beyond `headrace.toml`: its port and how much it logs.

HEADRACE_GATEWAY_PORT        listen on exactly this port (0: any free one); default 8080 where it is free
HEADRACE_GATEWAY_ACCESS_LOG  `off`, `debug` (default) or `info`: the level of a served request's line
HEADRACE_JWT_SECRET          the shared secret of HS* tokens, instead of `gateway.jwt.secret_file`
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, cast

from pydantic import SecretStr

from schemas.errors import Fatal

AccessLog = Literal["off", "debug", "info"]


@dataclass(frozen=True)
class Options:
    """How this process listens and logs; what is limited stands in `schemas.gateway`."""

    port: int | None = None
    access_log: AccessLog = "debug"
    check_timeout_s: float = 1.5
    jwt_secret: SecretStr = field(default=SecretStr(""))

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
        secret = SecretStr(environ.get("HEADRACE_JWT_SECRET", ""))
        return cls(port=int(port) if port else None, access_log=cast("AccessLog", log), jwt_secret=secret)
