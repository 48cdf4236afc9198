"""The page at /p/{product_id}: what is known of a product, who rates it, what goes with it, and who gets it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from recommender.service.pages import charts
from recommender.service.pages.cards import add_images, card_of, category_names
from recommender.service.pages.frame import add_page, render
from recommender.service.pages.words import count, one_segment, stars
from recommender.service.parameters import RequestReader
from recommender.service.routes.figures import figures_of
from recommender.service.routes.products import product_of, similar_to
from recommender.service.session import may_see_people

router = APIRouter(include_in_schema=False)


async def product(request: Request) -> Response:
    """Return the page of one product."""
    asked = RequestReader.of(request)
    product_id = asked.product_id()
    asked.done()
    model, named = request.app.state.model, may_see_people(request)
    facts = product_of(request, model, product_id, named=named)
    figures = await figures_of(request, product_id, named=named)
    similar = [
        card_of(model, one["product_id"], similarity=one["similarity"], common=one["users_in_common"])
        for one in similar_to(model, product_id, request.app.state.default_limit)["similar"]
    ]
    card = card_of(model, product_id)
    images = await add_images(request, [card, *similar])
    address = f"/products/{one_segment(product_id)}"
    return render(
        request,
        "product.html",
        images=images,
        card=card,
        facts=facts,
        category=(await category_names(request)).get(facts["category_id"]),
        histogram=_bars(figures["ratings_by_stars"], lambda row: f"{stars(row['stars'])} ★", "ratings"),
        hidden=figures["ratings_by_stars"] is None,
        segments=figures["segments"],
        lists=_bars(figures["lists"], lambda row: f"rank {row['rank']}", "lists", ascending=True),
        n_lists=None if figures["lists"] is None else sum(row["lists"] for row in figures["lists"]),
        reason=figures["reason"],
        similar=similar,
        twin=[
            ("This product as JSON", address),
            ("Similar products as JSON", f"{address}/similar"),
            ("Figures as JSON", f"{address}/figures"),
        ],
    )


def _bars(rows: list[dict[str, Any]] | None, label: Any, name: str, *, ascending: bool = False) -> list[dict[str, Any]]:
    """Return the bars of rows, the last one first unless ``ascending``."""
    chosen = rows or []
    parts = charts.shares([row[name] for row in chosen])
    bars = [
        {"label": label(row), "part": part, "text": count(row[name])} for row, part in zip(chosen, parts, strict=True)
    ]
    return bars if ascending else bars[::-1]


add_page(router, "/p/{product_id:path}", product)
