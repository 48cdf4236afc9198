"""The frame of all pages: who may see a page, its template, its headers, and what stands there if something fails.

A page is made on the server from a template (Jinja2, escaped), with the figures of the API's own routes. It works
without JavaScript. Its policy lets a browser load nothing but the files of `assets`, and run no script within the page.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from time import perf_counter
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from recommender.errors import (
    DatabaseError,
    OtherPeopleError,
    RecommenderError,
    UnknownProductError,
    UnknownRatingError,
    UnknownUserError,
    UnknownVersionError,
)
from recommender.service.api_keys import CHALLENGE, ApiKeys
from recommender.service.asked_people import BEING_REPLACED, OTHER_PEOPLE
from recommender.service.faults import faults_of
from recommender.service.pages import words
from recommender.service.pages.assets import address
from recommender.service.pages.pictures import placeholder
from recommender.service.problems import NOT_KEPT, InvalidParameterError, NotInThisModelError, http_problem
from recommender.service.session import learn_endings, may_see_people, session_of
from recommender.service.slashes import as_sent, as_written
from recommender.service.state import ServiceState
from recommender.updates import ANNOUNCED

_log = logging.getLogger("uvicorn.error")
TWINS = "/json"  # before an address of the API, for a browser with a session
_SMALL = 1_000  # bytes that are not worth packing
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (InvalidParameterError, 422),
    (NotInThisModelError, 409),
    (UnknownUserError, 404),
    (UnknownProductError, 404),
    (UnknownRatingError, 404),
    (UnknownVersionError, 404),
    (OtherPeopleError, 503),
    (DatabaseError, 503),
    (RecommenderError, 409),
)
_ADVICE = {
    404: "Search for another one, or go back.",
    409: "The service goes on as before.",
    422: "Change the address, or go back and choose again.",
    503: "Wait a few seconds and load this page again. The service keeps answering from memory.",
}
_HEADERS = NOT_KEPT | {
    "Vary": "Accept-Encoding, Cookie",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{images}; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

_templates = Environment(
    loader=FileSystemLoader(str(__file__).removesuffix("frame.py") + "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= words.FILTERS
_templates.globals |= {"asset": address, "placeholder": placeholder}

Make = Callable[[Request], Awaitable[Response]]


def add_page(router: APIRouter, path: str, make: Make, *, method: str = "GET", of_people: bool = False) -> None:
    """Add a page; ``of_people``: only for callers who may see people. With REQUIRE_KEY=all every page is of people."""

    @wraps(make)
    async def answer(request: Request) -> Response:
        await learn_endings(request)
        if (of_people or request.app.layer.keys is not None) and not may_see_people(request):
            return ask_to_sign_in(request)
        try:
            await _check_served(request, of_people=of_people)
            made = await make(request)
            await _check_served(request, of_people=of_people)  # the people may have been replaced meanwhile
            return made
        except Exception as error:
            return _failed(request, error)

    router.add_route(path, answer, methods=[method], include_in_schema=False)


async def _check_served(request: Request, *, of_people: bool) -> None:
    """Raise what a page cannot be made with: no model yet, or user_ids that mean other people than in the model."""
    state: ServiceState = request.app.state
    if state.model is None:
        raise HTTPException(503, "the model is not loaded yet")
    if not of_people:
        return
    if perf_counter() > state.due and state.updater is not None:
        await state.updater.people_known()
    if state.means_others(state.model):
        raise OtherPeopleError(BEING_REPLACED if state.people == ANNOUNCED else OTHER_PEOPLE)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    images: frozenset[str] = frozenset(),
    **values: Any,
) -> Response:
    """Return a page; ``images``: the origins that its pictures come from."""
    session, root = session_of(request), request.scope.get("root_path", "")
    closed = request.app.layer.keys is not None and not may_see_people(request)
    shared = {
        "root": root,
        "path": as_written(request.scope["path"].removeprefix(root)),
        "currency": request.app.state.currency,
        "form_token": session.form_token if session else "",
        "signed_in": session is not None,
        "sees_people": may_see_people(request),
        "closed": closed,
        "faults": [] if closed else faults_of(request.app.state),
        "twin": None,
        "twins": TWINS if session else "",
        "docs": f"{TWINS}/docs" if session and request.app.layer.keys is not None else "/docs",
    }
    body = _templates.get_template(template).render(shared | values).encode("utf-8", "replace")
    policy = {"Content-Security-Policy": _POLICY.format(images="".join(f" {one}" for one in sorted(images)))}
    sent = _HEADERS | policy | (headers or {})
    if len(body) > _SMALL and "gzip" in request.headers.get("accept-encoding", ""):
        body, sent = gzip.compress(body, 5, mtime=0), sent | {"Content-Encoding": "gzip"}
    return Response(body, status, sent, "text/html")


def ask_to_sign_in(request: Request, *, fault: str = "", status: int = 401, to: str | None = None) -> Response:
    """Return the page with the field for a key; ``to``: the path to go to after it."""
    keys: ApiKeys = request.app.state.api_keys
    if to is None:
        root, query = request.scope.get("root_path", ""), request.url.query
        to = request.scope["path"].removeprefix(root) if request.method in ("GET", "HEAD") else "/"
        to = as_written(to) + (f"?{query}" if query else "")
    headers = CHALLENGE if keys else {}
    status = status if keys else 403
    return render(request, "sign_in.html", status=status, headers=headers, to=to, fault=fault, has_keys=bool(keys))


def refuse(request: Request, status: int, what: str, advice: str | None = None) -> Response:
    """Return the page that says what is wrong and what to do."""
    advice = advice or _ADVICE.get(status, "Load this page again. If it stays, the server's log has the cause.")
    title = HTTPStatus(status).phrase
    retry = {"Retry-After": "5"} if status == 503 else {}
    return render(request, "error.html", status=status, headers=retry, title=title, what=what, advice=advice)


def answer_browsers(app: FastAPI) -> None:
    """Answer a browser with a page where nothing is, in the place of the problem that a program gets."""

    @app.exception_handler(HTTPException)
    async def _nothing_there(request: Request, error: HTTPException) -> Response:
        answer = http_problem(request, error)
        if answer.status_code not in (404, 405) or "text/html" not in request.headers.get("accept", ""):
            return answer
        what = f"There is no page {as_sent(request.url.path)}."
        page = refuse(request, answer.status_code, what, "Go back, or choose another page.")
        if "allow" in answer.headers:
            page.headers["Allow"] = answer.headers["allow"]
        return page


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return refuse(request, error.status_code, str(error.detail))
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return refuse(request, status, _in_words(error))
    _log.error("a page could not be made", exc_info=error)
    return refuse(request, 500, "An unforeseen error; it is in the server's log.")


def _in_words(error: Exception) -> str:
    if isinstance(error, InvalidParameterError):
        return "; ".join(f"{one['parameter']}: {one['message']}, not “{one['value']}”" for one in error.errors)
    if isinstance(error, DatabaseError):
        return "The database does not answer."
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
