"""A route that is called ahead of the framework's routing, which would take as long as making the answer.

The framework's routing, dependencies and inner middleware take some 200 of a request's 480 µs. They do nothing for a
route that takes the bare request, checks its parameters by hand and is only read. A parameter that
cannot be used, and a user or product nobody knows, are left to the framework, which then calls it once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from recommender.errors import UnknownProductError, UnknownUserError
from recommender.problems import InvalidParameterError, NotInThisModelError, unforeseen


class Shortcut:
    """The GET route ``path``, a template that ends in its only parameter; ``framework`` is asked if it raises."""

    def __init__(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]], *, app: object, framework: ASGIApp
    ) -> None:
        self.path = path
        self._prefix, _, parameter = path.partition("{")
        self._parameter = parameter.removesuffix("}")
        self._endpoint, self._app, self._framework = endpoint, app, framework

    def takes(self, scope: Scope) -> bool:
        """Would the framework's routing call this route?"""
        path: str = scope["path"]
        if scope["method"] != "GET" or not path.startswith(self._prefix) or scope.get("root_path"):
            return False
        return len(path) > len(self._prefix) and "/" not in path[len(self._prefix) :]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parameters = {self._parameter: scope["path"][len(self._prefix) :]}
        own = {"app": self._app, "route": self, "path_params": parameters}
        try:
            response = await self._endpoint(Request({**scope, **own}, receive))
        except (
            InvalidParameterError,
            NotInThisModelError,
            UnknownUserError,
            UnknownProductError,
        ):  # the framework makes problems of them
            await self._framework(scope, receive, send)
            return
        except Exception:  # as the framework: an answer without a trace, and the trace in the server's log
            scope["route"] = self
            await unforeseen()(scope, receive, send)
            raise
        scope["route"] = self
        await response(scope, receive, send)
