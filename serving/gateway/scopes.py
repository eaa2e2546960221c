"""The one table of who may call what: a route's path in, the scope that it needs out.

A path without an entry does not exist for anybody: the guard answers 404 and never asks the application.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from starlette.routing import compile_path


class Scope(StrEnum):
    """What a key or token may do."""

    PUBLISH = "publish"
    PREDICT = "predict"
    READ = "read"
    ADMIN = "admin"


OPEN: Final = None
"""Of routes that need nothing: a probe has no key."""

SCOPES: Final[Mapping[str, Scope | None]] = {
    "/livez": OPEN,
    "/readyz": OPEN,
    "/v1/events": Scope.PUBLISH,
    "/v1/labels": Scope.PUBLISH,
    "/v1/predictions": Scope.READ,
    "/v1/predictions/stream": Scope.READ,
    "/v1/predictions/{source:path}/{id}": Scope.READ,
    "/v2": Scope.READ,
    "/v2/health/live": Scope.READ,
    "/v2/health/ready": Scope.READ,
    "/v2/repository/index": Scope.READ,
    "/v2/models/{name}": Scope.READ,
    "/v2/models/{name}/ready": Scope.READ,
    "/v2/models/{name}/infer": Scope.PREDICT,
    "/v2/models/{name}/versions/{version}": Scope.READ,
    "/v2/models/{name}/versions/{version}/ready": Scope.READ,
    "/v2/models/{name}/versions/{version}/infer": Scope.PREDICT,
    "/v2/{path:path}": Scope.ADMIN,
    "/metrics": Scope.READ,
    "/openapi.json": Scope.READ,
}
"""Each route by its path, as it is registered; those of `/v2` are the Open Inference Protocol's."""

CHANGING: Final = frozenset({Scope.PUBLISH, Scope.ADMIN})
"""The scopes by which something is changed: each such request is in the audit."""


class Need(NamedTuple):
    """A route and the scope that it needs."""

    route: str
    scope: Scope | None


class Table:
    """The table, quick to ask: paths without parameters by dictionary, the others by pattern, in order."""

    def __init__(self, scopes: Mapping[str, Scope | None] = SCOPES) -> None:
        needs = [Need(route, scope) for route, scope in scopes.items()]
        self._exact = {need.route: need for need in needs if "{" not in need.route}
        patterns = [(compile_path(need.route)[0], need) for need in needs if "{" in need.route]

        @lru_cache(maxsize=1024)
        def matching(path: str) -> Need | None:
            return next((need for pattern, need in patterns if pattern.match(path)), None)

        self._matching = matching

    def of(self, path: str) -> Need | None:
        """Return what a request's path needs; None for a path that is no route."""
        return self._exact.get(path) or self._matching(path)
