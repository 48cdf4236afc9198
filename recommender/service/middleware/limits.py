"""Limits on the size of a request, and headers that limit what an HTML page may do in a browser.

A target (path and query) over 8 KB is refused with 414. A body over 64 KB is refused with 413: by its
``Content-Length`` or, if it comes in chunks, as soon as it has grown too large. A body that does not come in time is
refused with 408. `recommender.service.connection_limits` bounds what comes before the application is called.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from recommender.service.model_headers import RawHeader
from recommender.service.problems import problem

LARGEST_TARGET = 8 * 1024
LARGEST_BODY = 64 * 1024
_CLOSE = {"Connection": "close"}
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def refusal(scope: Scope, headers: Mapping[bytes, bytes]) -> Response | None:
    """Return the answer to a request whose target or announced body is too large; None for any other."""
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    target += scope["query_string"] != b""  # the question mark
    if target > LARGEST_TARGET:
        return problem(414, f"the path and query of a request may have {LARGEST_TARGET:,} bytes, not {target:,}")
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or len(announced) > 19 or int(announced) > LARGEST_BODY:
        return _too_large({})
    return None


async def read_body(receive: Receive, seconds: float) -> tuple[Response | None, Receive]:
    """Read a body. Return a refusal (or None), and a `Receive` that gives the body again.

    A body that is too large or too slow is refused.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    return _too_large(_CLOSE), receive  # close, or the client could go on sending forever
                if not message.get("more_body"):
                    break
    except TimeoutError:
        return problem(408, f"the body of a request has to come within {seconds:g} s", headers=_CLOSE), receive
    whole = [message if message["type"] == "http.disconnect" else {**message, "body": bytes(body)}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return None, again


def _too_large(headers: dict[str, str]) -> Response:
    return problem(413, f"the body of a request may have {LARGEST_BODY:,} bytes", headers=headers)


def page_headers(page: bytes) -> list[RawHeader]:
    """Return headers for an HTML page: no frame around it, no parts from elsewhere, no script but its own."""
    own = " ".join(f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for text in _INLINE_SCRIPT.findall(page))
    policy = (
        f"default-src 'none'; script-src 'self' {own}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    return [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
        (b"content-security-policy", policy.encode()),
    ]
