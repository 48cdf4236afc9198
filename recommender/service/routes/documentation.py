"""The page at /docs: every route with its examples, to try in the browser.

Swagger UI (https://swagger.io/tools/swagger-ui) is served from here and not from a public network, so the page works
without the internet and has no content of third parties. Addresses are relative, so the page also works behind a proxy
that adds a prefix.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse

_FILES = Path(fastapi_offline.__file__).parent / "static"
_READ = ["GET", "HEAD"]
_EMPTY_ICON = "data:,"

router = APIRouter(include_in_schema=False)


@router.api_route("/docs", methods=_READ)
async def page(request: Request) -> Response:
    """Return Swagger UI on the OpenAPI document of the application."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{request.app.title}: the API",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url=_EMPTY_ICON,
        swagger_ui_parameters={"docExpansion": "list", "defaultModelsExpandDepth": -1, "displayRequestDuration": True},
    )


@router.api_route("/docs/swagger-ui-bundle.js", methods=_READ)
async def script(_request: Request) -> Response:
    """Return the page's JavaScript."""
    return FileResponse(_FILES / "swagger-ui-bundle.js", media_type="text/javascript")


@router.api_route("/docs/swagger-ui.css", methods=_READ)
async def style(_request: Request) -> Response:
    """Return the page's style sheet."""
    return FileResponse(_FILES / "swagger-ui.css", media_type="text/css")
