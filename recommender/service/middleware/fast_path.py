"""Answers one GET route ahead of the framework's routing, which takes longer than making a list.

Routing, dependencies and inner middleware take about 200 µs, the objects of request and response another 70 µs, a list
less than 150 µs. A route that only reads and checks its parameters by hand needs none of them. A faulty parameter or an
unknown user is left to the framework, which answers with a problem.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from recommender.errors import UnknownUserError
from recommender.model import ServedModel
from recommender.service import model_headers, problems
from recommender.service.list_answer import ListAnswer
from recommender.service.middleware.answer_cache import CachedAnswer
from recommender.service.model_headers import etag_of
from recommender.service.problems import InvalidParameterError, NotInThisModelError, unforeseen
from recommender.service.slashes import with_slashes

JSON = (b"content-type", b"application/json")
PRIVATE, NOT_KEPT = (
    (name.lower().encode(), value.encode())
    for headers in (model_headers.PRIVATE, problems.NOT_KEPT)
    for name, value in headers.items()
)

Make = Callable[..., ListAnswer | None]


class FastPath:
    """The GET route ``path``, a template that ends in its only parameter.

    ``make`` returns the answer for the parameter's text, the query, the model and the limit that ``default_limit``
    returns. With ``named`` it may name people; this is true only if every request here has a right key.
    """

    def __init__(self, path: str, make: Make, *, default_limit: Callable[[], int]) -> None:
        self.path = path
        self._prefix = path.partition("{")[0]
        self._make, self._default_limit = make, default_limit
        self.named = False

    def takes(self, scope: Scope) -> bool:
        """Tell whether the framework's routing would call this route."""
        path: str = scope["path"]
        if scope["method"] != "GET" or not path.startswith(self._prefix) or scope.get("root_path"):
            return False
        return len(path) > len(self._prefix) and "/" not in path[len(self._prefix) :]

    def answer(self, scope: Scope, model: ServedModel) -> CachedAnswer | None:
        """Return the answer with the headers of the route's own response; None if the framework has to answer."""
        text = with_slashes(scope["path"][len(self._prefix) :])
        try:
            made = self._make(text, scope["query_string"], model, self._default_limit(), named=self.named)
        except (InvalidParameterError, NotInThisModelError, UnknownUserError):
            return None
        if made is None:
            return None
        body, source, sources, names_people = made
        etag = etag_of(body)
        sourced = (b"x-recommendation-source", source.encode()), (b"x-recommendation-sources", sources.encode())
        own = *sourced, NOT_KEPT if names_people else PRIVATE
        about_body = (b"content-length", b"%d" % len(body)), JSON
        return CachedAnswer(self.path, source, etag, body, about_body, (*own, (b"etag", etag)))

    def failing(self, error: Exception) -> ASGIApp:
        """Return an application that answers a fault as the framework does: without a trace, which the log then has."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            scope["route"] = self
            await unforeseen()(scope, receive, send)
            raise error

        return answer
