"""The files of the pages: style sheet, icon, htmx (https://htmx.org), which changes parts in place, and a script.

The address of a file names its content, so a browser keeps it for good and still gets every new one at once.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
FOR_GOOD = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


class Asset(NamedTuple):
    """One file, ready to be sent."""

    media_type: str
    tag: str  # of its content
    plain: bytes
    packed: bytes


def _read(name: str) -> Asset:
    content = (_FOLDER / name).read_bytes()
    return Asset(_TYPES[name], sha256(content).hexdigest()[:12], content, gzip.compress(content, 9, mtime=0))


_ASSETS = {name: _read(name) for name in _TYPES}


def address(name: str) -> str:
    """Return the path of a file."""
    return f"/assets/{name}?{_ASSETS[name].tag}"


async def asset(request: Request) -> Response:
    """Return a file of the pages. It is open: it tells nothing about the shop."""
    found = _ASSETS.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    headers = {"Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    headers["Cache-Control"] = FOR_GOOD if request.scope["query_string"].decode("latin-1") == found.tag else "no-cache"
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.plain, headers=headers, media_type=found.media_type)


router.add_route("/assets/{name}", asset, methods=["GET"])
