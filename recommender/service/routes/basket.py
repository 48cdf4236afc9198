"""The HTTP route ``POST /recommendations``: recommendations for the products in a basket, without an account."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, FailFast

from recommender.live import LiveModel
from recommender.model import Answer, ListRequest
from recommender.service.beside import Turns, takes_long
from recommender.service.filter_parameters import LIST_PARAMETERS, check_stock, list_request_of
from recommender.service.json_body import ProductId, Steps, fault, read_body
from recommender.service.model_headers import PRIVATE
from recommender.service.openapi import documented_body, documented_json, documented_refusal, list_schema, object_schema
from recommender.service.parameters import NOT_IN_THIS_MODEL, PRODUCT_ID_SCHEMA, RANKING, RequestReader, check_served
from recommender.service.problems import documented_problem
from recommender.service.product_json import PRODUCT_ID_ITEM, RATING_ITEM, listed
from recommender.service.routes.recommendations import EXAMPLE, HEADERS, LISTED
from recommender.shop import HALF_STARS

MOST_PRODUCTS = 500

router = APIRouter()

SENT = {name: described for name, described in HEADERS.items() if name != "ETag"}

_BASKET = {"ratings": [{"product_id": "B08N5WRWNW", "rating": 5}, {"product_id": "B07PGL2ZSL"}]}
_RATED = object_schema(
    {"product_id": PRODUCT_ID_ITEM | PRODUCT_ID_SCHEMA},
    optional={"rating": RATING_ITEM | {"default": HALF_STARS.ends[1]}},
)
_BASKET_SCHEMA = object_schema({"ratings": list_schema(_RATED, minItems=1, maxItems=MOST_PRODUCTS)})
_ANSWER_SCHEMA = object_schema({"recommendations": LISTED})


def _listed(items: Any) -> Any:
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_PRODUCTS:
        raise fault(f"must be a list of 1 to {MOST_PRODUCTS} products", items)
    return items


def _keyed(item: Any) -> Any:
    if not isinstance(item, dict) or not {"product_id"} <= item.keys() <= {"product_id", "rating"}:
        raise fault("must be objects with product_id and, optionally, rating", item)
    return item


class _Item(BaseModel):
    product_id: ProductId
    rating: Steps = 0  # 0: not given, so the highest


class _Basket(BaseModel):
    ratings: Annotated[list[Annotated[_Item, BeforeValidator(_keyed)]], FailFast(), BeforeValidator(_listed)]


@router.post(
    "/recommendations",
    summary="Products for a basket",
    openapi_extra={
        "parameters": [*LIST_PARAMETERS, RANKING],
        "requestBody": documented_body(_BASKET_SCHEMA, _BASKET),
    },
    responses={
        200: documented_json(
            _ANSWER_SCHEMA, {"recommendations": EXAMPLE["recommendations"]}, "Ranked products.", headers=SENT
        ),
        404: documented_problem("No such product.", status=404, detail="product B000000099 is unknown"),
        409: NOT_IN_THIS_MODEL,
        422: documented_refusal("ratings", "[]", f"must be a list of 1 to {MOST_PRODUCTS} products"),
    },
)
async def basket(request: Request) -> Response:
    """Recommend products to a new person, from the products in a basket. Nothing is stored.

    The ratings count as if a new user had given them just now. A product without a rating counts as 5 stars. If a
    product is given twice, the last one counts. The filters are those of `/recommendations/{user_id}`.
    """
    asked = RequestReader.of(request)
    list_request, ranking = list_request_of(asked, request.app.state.default_limit), asked.ranking()
    model: LiveModel = request.app.state.model
    scale = model.matrix.scale
    given = await read_body(request, _Basket, asked.errors, scale)
    asked.done()
    request.state.model = model
    ratings = {item.product_id: item.rating or scale.most for item in given.ratings}
    answer = await answer_basket(request, model, ratings, list_request, ranking)
    items = items_of(model, answer, first=list_request.offset + 1)
    headers = {"X-Recommendation-Source": answer.source, "X-Recommendation-Sources": answer.sources} | PRIVATE
    return Response(orjson.dumps({"recommendations": items}), 200, headers, "application/json")


async def answer_basket(
    request: Request, model: LiveModel, ratings: dict[str, int], list_request: ListRequest, ranking: str | None
) -> Answer:
    """Return the list for these ratings, in steps, for the route and for the page. UnknownProductError."""
    check_served(ranking, model)
    check_stock(list_request, model.products.catalog)
    make = partial(model.select_for, model.basket(ratings), list_request, ranking)
    slow_answers: Turns = request.app.state.slow_answers
    return await slow_answers.make(request, model, make) if takes_long(model, list_request) else make()


def items_of(model: LiveModel, answer: Answer, *, first: int) -> list[dict[str, Any]]:
    """Return the products of the list as the API lists them."""
    return [
        listed(model, rank, item.column, predicted_rating=round(item.predicted_rating, 3))
        for rank, item in enumerate(answer.recommendations, start=first)
    ]
