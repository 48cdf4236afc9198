"""Parts of the OpenAPI document: parameters, schemas, responses, and routes under several paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from recommender.service.problems import documented_problem

Route = TypeVar("Route", bound=Callable[..., Any])
Responses = dict[int | str, dict[str, Any]]

NATURAL: dict[str, Any] = {"type": "integer", "minimum": 0}
DATABASE_AWAY = documented_problem(
    "The database is away.", status=503, detail="the database does not answer; try again"
)


def query_parameter(name: str, description: str, schema: dict[str, Any], example: Any, **more: Any) -> dict[str, Any]:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", **more, "description": description, "schema": schema, "example": example}


def object_schema(fields: Mapping[str, Any], optional: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the schema of an object with these fields and no others; the ``optional`` ones may be missing."""
    rules = {"required": list(fields), "additionalProperties": False, **more}
    return {"type": "object", **rules, "properties": {**fields, **(optional or {})}}


def schema_of(example: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the schema of an object with the fields of the example; a field that is not given counts something."""
    return object_schema({name: fields.get(name, NATURAL) for name in example})


def list_schema(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of a list; ``more``: its limits and its description."""
    return {"type": "array", **more, "items": items}


def documented_json(schema: dict[str, Any], example: Any, description: str, **more: Any) -> dict[str, Any]:
    """Return a response."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"description": description, "content": content, **more}


def documented_body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """Return the body of a request."""
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def documented_refusal(parameter: str, value: str, message: str) -> dict[str, Any]:
    """Return the response to a faulty parameter."""
    return documented_problem(
        "A parameter cannot be used.",
        status=422,
        detail=f"{parameter}: {message}",
        errors=[{"parameter": parameter, "value": value, "message": message}],
    )


def under_paths(
    register: Callable[..., Callable[[Route], Route]],
    *paths: tuple[str, str, Sequence[dict[str, Any]]],
    parameters: Sequence[dict[str, Any]] = (),
    extra: Mapping[str, Any] | None = None,
    **options: Any,
) -> Callable[[Route], Route]:
    """Register one route under several paths, each with its summary and the parameters that are its own.

    ``extra``: what all say besides of the request.
    """

    def decorate(route: Route) -> Route:
        for path, summary, own in paths:
            described = {"parameters": [*own, *parameters], **(extra or {})}
            register(path, summary=summary, openapi_extra=described, **options)(route)
        return route

    return decorate
