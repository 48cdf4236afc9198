"""The errors of the API as ``application/problem+json`` (RFC 9457); each has a string ``detail``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from recommender.errors import (
    DatabaseError,
    OtherPeopleError,
    UnknownProductError,
    UnknownRatingError,
    UnknownUserError,
)
from recommender.service.slashes import as_sent

Errors = list[dict[str, str]]  # each has parameter, value, message

PROBLEM = "application/problem+json"
NOT_KEPT = {"Cache-Control": "private, no-store"}


class InvalidParameterError(Exception):
    """Parameters of a request that cannot be used; ``errors`` has one entry for each."""

    def __init__(self, errors: Sequence[dict[str, str]]) -> None:
        super().__init__(errors)
        self.errors = list(errors)


class NotInThisModelError(Exception):
    """A ranking that exists, but that the served model was not made for."""


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return the answer for an error. It is never cached: a cached 404 would hide a user who is added later."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, {**NOT_KEPT, **(headers or {})}, PROBLEM)


def unforeseen() -> Response:
    """Return the answer to a fault of the service; the server logs the trace, the answer has none."""
    return problem(500, "an unforeseen error; it is in the server's log")


def http_problem(request: Request, error: HTTPException) -> Response:
    """Return the problem where nothing is, or for another error of the framework."""
    path, headers = as_sent(request.url.path), error.headers
    details = {404: f"there is no page {path}; see /docs"}
    details[405] = f"{request.method} is not allowed on {path}; see /docs"
    if error.status_code == 405 and path in _SEVERAL:  # the framework tells those of one route
        headers = {"Allow": _SEVERAL[path]}
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), headers=headers)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of ``app`` a problem, also those of the framework; never with a stack trace."""

    @app.exception_handler(InvalidParameterError)
    async def _invalid(_request: Request, error: InvalidParameterError) -> Response:
        detail = "; ".join(f"{entry['parameter']}: {entry['message']}" for entry in error.errors)
        return problem(422, detail, errors=error.errors)

    @app.exception_handler(NotInThisModelError)
    async def _not_here(_request: Request, error: NotInThisModelError) -> Response:
        return problem(409, str(error))

    @app.exception_handler(UnknownUserError)
    @app.exception_handler(UnknownProductError)
    @app.exception_handler(UnknownRatingError)
    async def _unknown(_request: Request, error: Exception) -> Response:
        return problem(404, str(error))

    @app.exception_handler(OtherPeopleError)
    async def _others(_request: Request, error: Exception) -> Response:
        return problem(503, str(error), headers={"Retry-After": "5"})

    @app.exception_handler(DatabaseError)
    async def _away(_request: Request, _error: Exception) -> Response:
        return problem(503, "the database does not answer; try again", headers={"Retry-After": "1"})

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return http_problem(request, error)

    @app.exception_handler(Exception)
    async def _unforeseen(_request: Request, _error: Exception) -> Response:
        return unforeseen()


_SEVERAL = {"/recommendations": "GET, POST", "/ratings": "GET, POST", "/users": "DELETE, GET"}

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["parameter", "value", "message"],
                "properties": {
                    "parameter": {"type": "string"},
                    "value": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def documented_problem(description: str, **example: Any) -> dict[str, Any]:
    """Return an error response for the OpenAPI document."""
    status = example["status"]
    whole = {"type": "about:blank", "title": HTTPStatus(status).phrase, **example}
    return {"description": description, "content": {PROBLEM: {"schema": PROBLEM_SCHEMA, "example": whole}}}
