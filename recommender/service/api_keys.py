"""API keys for the protected routes: ``API_KEY`` lists them, a request sends one in the header ``X-API-Key``.

Without a configured key these routes are closed (403). With one, a request without a right key gets 401. With
``REQUIRE_KEY=all`` every path but those of `OPEN` needs a key, even a path without a route. Comparing a key takes the
same time whatever its value. No log, answer, error or ``repr`` shows a key.
"""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import Request, Security
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from recommender.errors import SettingError
from recommender.service.problems import documented_problem, problem

SHORTEST_KEY = 16  # characters
HEADER = "X-API-Key"
RAW_HEADER = HEADER.lower().encode()
OPEN = frozenset({"/live", "/ready", "/health"})  # need no key; without one /health shows only its status
CHALLENGE = {"WWW-Authenticate": f'ApiKey realm="recommendations", header="{HEADER}"'}

_CLOSED = "this needs an API key, and none is configured: set API_KEY in the environment or .env and restart the API"
_NO_KEY = f"this needs an API key in the header {HEADER}"
_WRONG_KEY = f"the API key in the header {HEADER} is not right"

# only for the OpenAPI document: it refuses nothing, the routes call `require_key` themselves
SCHEME = "ApiKey"
DOCUMENTED_KEY = Security(APIKeyHeader(name=HEADER, scheme_name=SCHEME, auto_error=False))
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {
        **documented_problem("No key, or a wrong one.", status=401, detail=_NO_KEY),
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    },
    403: documented_problem("The service has no key.", status=403, detail=_CLOSED),
}


class ApiKeys:
    """The keys that open the service; false if there are none."""

    __slots__ = ("_keys",)

    def __init__(self, setting: str = "") -> None:
        """Read the value of API_KEY: keys separated by commas. SettingError, without the key, if one is unusable."""
        keys = [key for part in setting.split(",") if (key := part.strip())]
        for number, key in enumerate(keys, start=1):
            if len(key) < SHORTEST_KEY or not key.isprintable():
                which = f"key {number} of {len(keys)}" if len(keys) > 1 else "the key"
                fault = f"has {len(key)} characters" if len(key) < SHORTEST_KEY else "holds a control character"
                remedy = f"use {SHORTEST_KEY} or more, such as those of: openssl rand -hex 24"
                raise SettingError(f"API_KEY: {which} {fault}: {remedy}")
        self._keys = tuple(key.encode("utf-8") for key in keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def all(self) -> tuple[bytes, ...]:
        """The keys, to sign with; never to be shown."""
        return self._keys

    def __repr__(self) -> str:
        return f"ApiKeys({len(self._keys)})"

    def accept(self, given: bytes) -> bool:
        """Tell whether this is one of the keys. All keys are compared, so the time reveals nothing."""
        same = [hmac.compare_digest(given, key) for key in self._keys]
        return True in same

    def opened_by(self, scope: Scope) -> bool:
        """Tell whether the request has exactly one key, and a right one."""
        given = [value for name, value in scope["headers"] if name == RAW_HEADER]
        return len(given) == 1 and self.accept(bytes(given[0]))


def require_key(request: Request) -> None:
    """Raise the answer to a request without a right key: 403 if none is configured, else 401."""
    keys: ApiKeys = request.app.state.api_keys
    if not keys:
        raise HTTPException(403, _CLOSED)
    if not has_key(request):
        raise HTTPException(401, _missing(request.scope), CHALLENGE)


def has_key(request: Request) -> bool:
    """Tell whether the request has exactly one key, and a right one."""
    keys: ApiKeys = request.app.state.api_keys
    return keys.opened_by(request.scope)


def closed_to(scope: Scope, keys: ApiKeys) -> Response | None:
    """Return the refusal of a request without a right key where all but `OPEN` needs one; None if it may pass."""
    if keys.opened_by(scope) or scope["path"].removeprefix(scope.get("root_path", "")) in OPEN:
        return None
    return problem(401, _missing(scope), headers=CHALLENGE)


def document_for_all(document: dict[str, Any]) -> None:
    """Change an OpenAPI document to say that all but `OPEN` needs a key."""
    refused = REFUSALS[401]
    for path, operations in document["paths"].items():
        if path not in OPEN:
            for operation in operations.values():
                operation["security"] = [{SCHEME: []}]
                operation["responses"].setdefault("401", refused)


def _missing(scope: Scope) -> str:
    return _WRONG_KEY if any(name == RAW_HEADER for name, _ in scope["headers"]) else _NO_KEY
