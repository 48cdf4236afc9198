"""The HTTP routes, one file for each heading of /docs."""

from __future__ import annotations

from enum import Enum

from fastapi import APIRouter
from fastapi.routing import APIRoute

from recommender.service.routes import (
    basket,
    batch,
    documentation,
    figures,
    operation,
    overview,
    people,
    products,
    recommendations,
    search,
    taste_map,
    titles,
    versions,
    what_if,
    writes,
)

# the routes by their heading in /docs
ROUTERS: dict[str | Enum, tuple[APIRouter, ...]] = {
    # batch comes before the route that would take "batch" for a user
    "Recommendations": (batch.router, recommendations.router, basket.router),
    "Products": (products.router, titles.router, figures.router),
    "People (with a key)": (search.router, people.router, what_if.router),
    "Writes (with a key)": (writes.router,),
    "Operation": (operation.router, overview.router, taste_map.router, versions.router),
}
PAGE = documentation.router  # under no heading


def _answer_head(router: APIRouter) -> None:
    """Let every GET route answer HEAD too, which load balancers send; the framework's routes do not."""
    for route in tuple(router.routes):
        if isinstance(route, APIRoute) and route.methods == {"GET"}:
            router.add_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


for _routers in ROUTERS.values():
    for _router in _routers:
        _answer_head(_router)
