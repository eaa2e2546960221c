"""The routes that run for every event or row: requests straight to their handlers, the rest to FastAPI.

FastAPI's seven layers and its search for the route cost three times what is inside. What these routes do is
the same: their handlers are registered with FastAPI too, which describes them and answers other methods.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from serving.gateway.problems import Refused

Handler = Callable[[Request], Awaitable[Response]]
OnRefused = Callable[[Request, Exception], Awaitable[Response]]

_PATHS: Final = 1024


class Direct:
    """Wraps the application; `posts` are the handlers of POST requests by their route's path."""

    def __init__(self, app: FastAPI, posts: Mapping[str, Handler], on_refused: OnRefused) -> None:
        self._app = app
        self._on_refused = on_refused
        patterns = [(compile_path(path)[0], handler) for path, handler in posts.items()]

        @lru_cache(maxsize=_PATHS)
        def find(path: str) -> tuple[Handler, dict[str, str]] | None:
            for pattern, handler in patterns:
                if (match := pattern.match(path)) is not None:
                    return handler, match.groupdict()
            return None

        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        handler, scope["path_params"] = found
        scope["app"] = self._app
        request = Request(scope, receive, send)
        try:
            response = await handler(request)
        except Refused as error:
            response = await self._on_refused(request, error)
        await response(scope, receive, send)
