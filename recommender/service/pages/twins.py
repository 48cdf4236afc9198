"""The API's GET routes under /json, for a browser with a session: what the links below a page lead to.

A browser sends no key, so the routes of people would refuse it, and with REQUIRE_KEY=all every route. The session opens
these addresses and not the API itself. They only read.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Message

from recommender.service.api_keys import RAW_HEADER, ApiKeys
from recommender.service.pages.frame import TWINS, add_page
from recommender.service.problems import NOT_KEPT

router = APIRouter(include_in_schema=False)

_KEPT = ("content-type", "retry-after", "x-recommendation-source", "x-recommendation-sources")


async def twin(request: Request) -> Response:
    """Return the answer of the API to a GET with a key."""
    root = request.scope.get("root_path", "")
    path = request.scope["path"].removeprefix(root).removeprefix(TWINS)
    keys: ApiKeys = request.app.state.api_keys
    if not keys or any(page.match(path) for page in request.app.layer.pages):
        raise HTTPException(404, "there is no such route of the API")
    # a new scope: only the path, the query and the handlers of errors go on
    scope = {name: value for name, value in request.scope.items() if name not in ("extensions", "path_params", "route")}
    scope |= {"method": "GET", "path": root + path, "headers": [(RAW_HEADER, keys.all[0])], "state": {}}
    sent: list[Message] = []

    async def collect(message: Message) -> None:
        sent.append(message)

    await request.app.router(scope, request.receive, collect)
    headers: dict[str, Any] = {
        bytes(name).decode().lower(): bytes(value).decode() for name, value in sent[0]["headers"]
    }
    kept = {name: headers[name] for name in _KEPT if name in headers}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Response(body, sent[0]["status"], kept | NOT_KEPT | {"X-Content-Type-Options": "nosniff"})


add_page(router, TWINS + "/{path:path}", twin, of_people=True)
