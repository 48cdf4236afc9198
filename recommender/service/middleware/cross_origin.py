"""CORS: the pages of other origins that may call the service from a browser; none without ``CORS_ORIGINS``."""

from __future__ import annotations

import re

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from recommender.errors import SettingError
from recommender.service.api_keys import HEADER
from recommender.service.middleware.layer import ServiceLayer

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,253}|\*")
_METHODS = ("GET", "HEAD", "POST", "DELETE")
_ANSWERED = (
    *("ETag", "Retry-After", "X-Model-Age", "X-Model-Version"),
    *("X-Recommendation-Source", "X-Recommendation-Sources", "X-Request-ID"),
)


class CrossOrigin(CORSMiddleware):
    """The layer around the layer, so that cached answers get the headers too; preflights are observed as well."""

    app: ServiceLayer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            names = {name for name, _ in scope["headers"]}
            if names >= {b"origin", b"access-control-request-method"}:
                await self.app.observe(super().__call__, scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def for_origins(app: ServiceLayer, setting: str) -> ASGIApp:
    """Return ``app`` open to the pages of these origins, separated by commas; it never uses cookies. SettingError."""
    origins = [origin for part in setting.split(",") if (origin := part.strip())]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            example = "https://shop.example.com, without a path, or * for all"
            raise SettingError(f"CORS_ORIGINS: {origin[:100]!r} is no origin: write {example}")
    if not origins:
        return app
    asked = (HEADER, "Content-Type", "If-None-Match", "X-Request-ID")
    return CrossOrigin(
        app, allow_origins=origins, allow_methods=_METHODS, allow_headers=asked, expose_headers=_ANSWERED
    )
