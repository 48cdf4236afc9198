"""The page at /basket: pick products, see what is recommended for them. It needs no account and stores nothing.

The basket stands in the address (``product=ID``), so it can be sent on, reloaded and gone back to.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from recommender.errors import UnknownProductError
from recommender.live import LiveModel
from recommender.service.filter_parameters import list_request_of
from recommender.service.pages.cards import add_images, card_of, category_names
from recommender.service.pages.frame import add_page, render
from recommender.service.pages.words import query_of
from recommender.service.parameters import RequestReader
from recommender.service.routes.basket import MOST_PRODUCTS, answer_basket, items_of
from recommender.service.routes.products import popular_items

router = APIRouter(include_in_schema=False)

SHELF = 12  # products to pick from


async def basket(request: Request) -> Response:
    """Return the basket, products to pick from, and the list for the basket."""
    asked = RequestReader.of(request)
    model: LiveModel = request.app.state.model
    root = request.scope.get("root_path", "")
    chosen = list(dict.fromkeys(text.strip() for text in asked.all("product") if text.strip()))
    ranking = asked.ranking() or model.ranking
    if len(chosen) > MOST_PRODUCTS:
        asked.refuse("product", chosen[MOST_PRODUCTS], f"must be given {MOST_PRODUCTS} times at most")
    shelf_query = {"category_id": asked.once("category_id") or "", "offset": asked.once("offset") or "", "limit": SHELF}
    shelf = RequestReader(query_of(shelf_query.items())[1:].encode())
    shelf_request = list_request_of(shelf, SHELF)
    asked.errors += shelf.errors
    asked.done()
    for product in chosen:
        if model.products.find(product) is None:
            raise UnknownProductError(product)
    listed, sources = [], ""
    if chosen:
        best = dict.fromkeys(chosen, model.matrix.scale.most)
        wanted = list_request_of(RequestReader(b""), request.app.state.default_limit)
        answer = await answer_basket(request, model, best, wanted, ranking)
        listed, sources = items_of(model, answer, first=1), answer.sources
    popular = [
        card_of(model, one["product_id"], ratings=one["ratings"]) for one in await popular_items(request, shelf_request)
    ]
    cards = [card_of(model, product) for product in chosen]
    found = [card_of(model, one["product_id"], rank=one["rank"], predicted=one["predicted_rating"]) for one in listed]
    images = await add_images(request, [*popular, *cards, *found])
    return render(
        request,
        "basket.html",
        images=images,
        cards=cards,
        shelf=[card for card in popular if card["product_id"] not in chosen],
        more=len(popular) == SHELF,
        offset=shelf_request.offset,
        step=SHELF,
        found=found,
        sources=sources,
        ranking=ranking,
        rankings=model.rankings,
        category_id=shelf_query["category_id"],
        categories=await category_names(request),
        chosen=chosen,
        link=partial(_link, root, chosen, shelf_query | {"ranking": ranking}),
        twin=[("Popular products as JSON", f"/popular{query_of(shelf_query.items())}")],
    )


def _link(root: str, chosen: list[str], shown: dict[str, Any], /, **changed: Any) -> str:
    """Return the address of this page with other values; ``add`` and ``drop`` change the basket."""
    products = [one for one in chosen if one != changed.get("drop")] + ([changed["add"]] if "add" in changed else [])
    values = shown | changed
    pairs = [(name, values[name]) for name in ("ranking", "category_id", "offset")]
    return f"{root}/basket" + query_of([*(("product", one) for one in products), *pairs])


add_page(router, "/basket", basket)
