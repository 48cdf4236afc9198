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
from recommender.service.routes.titles import found_by, title_in

router = APIRouter(include_in_schema=False)

SHELF = 12  # products to pick from


async def basket(request: Request) -> Response:
    """Return the basket, products to pick from, and the list for the basket."""
    asked = _Asked(request)
    model: LiveModel = request.app.state.model
    for product in asked.chosen:
        if model.products.find(product) is None:
            raise UnknownProductError(product)
    listed, sources = await _list_for(request, model, asked) if asked.chosen else ([], "")
    if asked.title.strip():
        popular = await found_by(request, asked.title, SHELF)
    else:
        popular = await popular_items(request, asked.shelf_request)
    shelf = [card_of(model, one["product_id"], ratings=one["ratings"]) for one in popular]
    cards = [card_of(model, product) for product in asked.chosen]
    found = [card_of(model, one["product_id"], rank=one["rank"], predicted=one["predicted_rating"]) for one in listed]
    return render(
        request,
        "basket.html",
        images=await add_images(request, [*shelf, *cards, *found]),
        cards=cards,
        shelf=[card for card in shelf if card["product_id"] not in asked.chosen],
        more=len(shelf) == SHELF and not asked.title.strip(),
        title=asked.title,
        offset=asked.shelf_request.offset,
        step=SHELF,
        found=found,
        sources=sources,
        ranking=asked.ranking,
        rankings=model.rankings,
        category_id=asked.shelf["category_id"],
        categories=await category_names(request),
        chosen=asked.chosen,
        link=partial(_link, request.scope.get("root_path", ""), asked),
        twin=_twins(asked),
    )


class _Asked:
    """What the address asks for. InvalidParameterError."""

    def __init__(self, request: Request) -> None:
        asked = RequestReader.of(request)
        self.chosen = list(dict.fromkeys(text.strip() for text in asked.all("product") if text.strip()))
        self.ranking = asked.ranking() or request.app.state.model.ranking
        if len(self.chosen) > MOST_PRODUCTS:
            asked.refuse("product", self.chosen[MOST_PRODUCTS], f"must be given {MOST_PRODUCTS} times at most")
        self.title = title_in(asked)
        places = {name: asked.once(name) or "" for name in ("category_id", "offset")}
        self.shelf: dict[str, Any] = {**places, "limit": SHELF}
        shelf = RequestReader(query_of(self.shelf.items())[1:].encode())
        self.shelf_request = list_request_of(shelf, SHELF)
        asked.errors += shelf.errors
        asked.done()


async def _list_for(request: Request, model: LiveModel, asked: _Asked) -> tuple[list[dict[str, Any]], str]:
    """Return the list for the basket as the API gives it, and its sources."""
    whole = list_request_of(RequestReader(b""), request.app.state.default_limit)
    ratings = dict.fromkeys(asked.chosen, model.matrix.scale.most)
    answer = await answer_basket(request, model, ratings, whole, asked.ranking)
    return items_of(model, answer, first=1), answer.sources


def _link(root: str, asked: _Asked, /, **changed: Any) -> str:
    """Return the address of this page with other values; ``add`` and ``drop`` change the basket."""
    products = [one for one in asked.chosen if one != changed.get("drop")]
    products += [changed["add"]] if "add" in changed else []
    values = {**asked.shelf, "ranking": asked.ranking, "title": asked.title, **changed}
    pairs = [(name, values[name]) for name in ("ranking", "category_id", "offset", "title")]
    return f"{root}/basket" + query_of([*(("product", one) for one in products), *pairs])


def _twins(asked: _Asked) -> list[tuple[str, str]]:
    if asked.title.strip():
        return [("Found products as JSON", f"/titles{query_of([('title', asked.title), ('limit', SHELF)])}")]
    return [("Popular products as JSON", f"/popular{query_of(asked.shelf.items())}")]


add_page(router, "/basket", basket)
