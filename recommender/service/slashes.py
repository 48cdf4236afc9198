"""Slashes in a path: ``/`` ends a part of it, ``%2F`` belongs to an id.

A server decodes a path before the routes see it, and then both look alike. But ``/products/a%2Fsimilar`` is the product
``a/similar``, and ``/products/a/similar`` asks for products like ``a``. So the layer marks the slashes that came
encoded, before anything looks at the path. Who reads an id from the path makes them slashes again. A proxy may decode
them on the way, so each route with a product id in its path has a twin that takes the id as a query parameter.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from starlette.types import Scope

_MARK = "\udc2f"  # half a surrogate pair: no path holds it once it is decoded
_ENCODED = re.compile(rb"%2[fF]")


def mark_slashes(scope: Scope) -> Scope:
    """Return the scope with a path in which each encoded slash has a mark, if the server tells the raw path.

    The server's own scope stays as it is, since the server logs it.
    """
    raw: bytes = scope.get("raw_path") or b""
    if b"%" not in raw:
        return scope
    return {**scope, "path": _MARK.join(unquote(part) for part in _ENCODED.split(raw))}


def with_slashes(text: str) -> str:
    """Return a part of a path with the slashes that belong to it."""
    return text.replace(_MARK, "/")


def as_sent(path: str) -> str:
    """Return a path with its encoded slashes."""
    return path.replace(_MARK, "%2F")


def as_written(path: str) -> str:
    """Return a path as it is written in an address.

    >>> as_written(f"/p/é{_MARK}b c")
    '/p/%C3%A9%2Fb%20c'
    """
    return "%2F".join(quote(part, safe="/") for part in path.split(_MARK))
