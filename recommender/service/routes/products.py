"""The HTTP routes about products: one product, similar ones, and popular ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from recommender.errors import UnknownProductError
from recommender.model import FEWEST, ListRequest, ServedModel, mean_of_many
from recommender.service import model_headers
from recommender.service.api_keys import HEADER, has_key
from recommender.service.beside import Turns, takes_long
from recommender.service.filter_parameters import LIST_PARAMETERS, NO_STOCK, check_stock, list_request_of
from recommender.service.openapi import (
    NATURAL,
    Responses,
    documented_json,
    documented_refusal,
    list_schema,
    object_schema,
)
from recommender.service.parameters import LARGEST_LIMIT, LIMIT, NO_PRODUCT_ID, PRODUCT_ID_SCHEMA, RequestReader
from recommender.service.problems import documented_problem
from recommender.service.product_json import (
    CURRENCY_ITEM,
    PREDICTED_ITEM,
    PRICE_ITEM,
    PRODUCT_ID_ITEM,
    PRODUCT_NAME_ITEM,
    listed,
    listed_schema,
)
from recommender.shop import NOT_IN_CATALOG

_HEADERS = model_headers.DOCUMENTED

router = APIRouter()

PRODUCT_ID = {
    "name": "product_id",
    "in": "path",
    "required": True,
    "description": "A product of the catalog or of a rating.",
    "schema": PRODUCT_ID_SCHEMA,
    "example": "B08N5WRWNW",
}
_SIMILAR_EXAMPLE = {
    "product_id": "B08N5WRWNW",
    "similar": [
        {
            "rank": 1,
            "product_id": "B07XJ8C8F5",
            "product_name": "Wireless Mouse, Silent Click",
            "similarity": 0.412,
            "users_in_common": 7,
            "price": 14.99,
        }
    ],
}
_SIMILAR_FIGURES = {
    "similarity": {"type": "number", "minimum": 0, "maximum": 1},
    "users_in_common": {"type": "integer", "minimum": 1},
}
_SIMILAR_SCHEMA = object_schema(
    {
        "product_id": {"type": "string"},
        "similar": list_schema(listed_schema(_SIMILAR_FIGURES), maxItems=LARGEST_LIMIT),
    }
)
_PRODUCT_EXAMPLE = {
    "product_id": "B08N5WRWNW",
    "product_name": "Wireless Keyboard, Quiet Keys",
    "price": 29.99,
    "currency": "USD",
    "stars": 4.6,
    "category_id": 104,
    "in_catalog": True,
    "ratings": 17,
    "mean_rating": 4.41,
}
_PRODUCT_SCHEMA = object_schema(
    {
        "product_id": PRODUCT_ID_ITEM,
        "product_name": PRODUCT_NAME_ITEM,
        "price": PRICE_ITEM,
        "currency": CURRENCY_ITEM,
        "stars": {"type": ["number", "null"], "description": "The catalog's."},
        "category_id": {"type": ["integer", "null"]},
        "in_catalog": {"type": "boolean", "description": "false: it has left; people's ratings of it are kept."},
        "ratings": NATURAL | {"description": "How many people here rated it."},
        "mean_rating": {
            "type": ["number", "null"],
            "description": f"Theirs; of fewer than {FEWEST} people only with a right {HEADER}.",
        },
    }
)
_POPULAR_ITEM = {
    "rank": 1,
    "product_id": "B08N5WRWNW",
    "product_name": "Wireless Keyboard, Quiet Keys",
    "predicted_rating": 4.386,
    "price": 29.99,
    "ratings": 17,
}
_MOST_FIRST = "Most ratings first; in a shop without any, what most people have turned to lately."
_POPULAR_SCHEMA = object_schema(
    {"popular": list_schema(listed_schema({"predicted_rating": PREDICTED_ITEM}, more={"ratings": NATURAL}))}
)
PRODUCT_ID_IN_QUERY = PRODUCT_ID | {"in": "query"}
NO_SUCH_PRODUCT: Responses = {
    304: model_headers.NOT_MODIFIED,
    404: documented_problem("No such product.", status=404, detail="product B000000099 is unknown"),
    422: documented_refusal("product_id", " x", NO_PRODUCT_ID),
}


_SIMILAR_RESPONSES: Responses = {
    200: documented_json(
        _SIMILAR_SCHEMA,
        _SIMILAR_EXAMPLE,
        "Other products by cosine, best first; none is made up: of what nobody had rated when the model was made "
        "there are none.",
        headers=_HEADERS,
    ),
    **NO_SUCH_PRODUCT,
}
_PRODUCT_RESPONSES: Responses = {
    200: documented_json(
        _PRODUCT_SCHEMA, _PRODUCT_EXAMPLE, "The catalog's facts, and what people here think.", headers=_HEADERS
    ),
    **NO_SUCH_PRODUCT,
}


@router.get(
    "/products/{product_id}/similar",
    summary="Similar products: the same people rated them alike",
    openapi_extra={"parameters": [PRODUCT_ID, LIMIT, model_headers.IF_NONE_MATCH]},
    responses=_SIMILAR_RESPONSES,
)
async def similar(request: Request) -> Response:
    """Return other products of the catalog by the cosine of their ratings, with the number of users who rated both."""
    asked = RequestReader.of(request)
    product_id = asked.product_id()
    limit = asked.limit(request.app.state.default_limit)
    asked.done()
    model: ServedModel = request.app.state.model
    return Response(orjson.dumps(similar_to(model, product_id, limit)), media_type="application/json")


@router.get(
    "/similar",
    summary="The same, with the id in the query",
    openapi_extra={"parameters": [PRODUCT_ID_IN_QUERY, LIMIT, model_headers.IF_NONE_MATCH]},
    responses=_SIMILAR_RESPONSES,
)
async def similar_by_query(request: Request) -> Response:
    """Return what `/products/{product_id}/similar` returns, also where a proxy decodes a slash in a path."""
    return await similar(request)


def similar_to(model: ServedModel, product_id: str, limit: int) -> dict[str, Any]:
    """Return the products most similar to one, for the route and for the page. UnknownProductError."""
    if model.products.find(product_id) is None:  # `/products/{product_id}` finds the same, also new products
        raise UnknownProductError(product_id)
    column = model.products.column_of(product_id)
    if column is None:  # it had no ratings
        return {"product_id": product_id, "similar": []}
    found = model.similar_products.similar(column, limit)
    items = [
        listed(model, rank, other, similarity=round(cosine, 3), users_in_common=common)
        for rank, (other, cosine, common) in enumerate(zip(*(a.tolist() for a in found), strict=True), start=1)
    ]
    return {"product_id": product_id, "similar": items}


@router.get(
    "/products/{product_id}",
    summary="One product",
    openapi_extra={"parameters": [PRODUCT_ID, model_headers.IF_NONE_MATCH]},
    responses=_PRODUCT_RESPONSES,
)
async def product(request: Request) -> Response:
    """Return a product of the catalog, or one that has left it and still has ratings."""
    asked = RequestReader.of(request)
    product_id = asked.product_id()
    asked.done()
    model: ServedModel = request.app.state.model
    body = product_of(request, model, product_id, named=has_key(request))
    return Response(orjson.dumps(body), media_type="application/json")


def product_of(request: Request, model: ServedModel, product_id: str, *, named: bool) -> dict[str, Any]:
    """Return a product, for the route and for the page; ``named``: with figures of few people. UnknownProductError."""
    column = model.products.find(product_id)
    if column is None:
        raise UnknownProductError(product_id)
    facts = model.products.facts(column)
    count, mean = model.raters_of(column)
    if not named:
        mean = mean_of_many(mean, count)
    return {
        "product_id": product_id,
        "product_name": facts.title,
        "price": facts.price,
        "currency": request.app.state.currency,
        "stars": facts.stars,
        "category_id": facts.category_id,
        "in_catalog": facts is not NOT_IN_CATALOG,
        "ratings": count,
        "mean_rating": None if mean is None else round(mean, 2),
    }


@router.get(
    "/products",
    summary="The same, with the id in the query",
    openapi_extra={"parameters": [PRODUCT_ID_IN_QUERY, model_headers.IF_NONE_MATCH]},
    responses=_PRODUCT_RESPONSES,
)
async def product_by_query(request: Request) -> Response:
    """Return what `/products/{product_id}` returns, also where a proxy decodes a slash in a path."""
    return await product(request)


@router.get(
    "/popular",
    summary="The most rated products",
    openapi_extra={"parameters": [*LIST_PARAMETERS, model_headers.IF_NONE_MATCH]},
    responses={
        200: documented_json(_POPULAR_SCHEMA, {"popular": [_POPULAR_ITEM]}, _MOST_FIRST, headers=_HEADERS),
        304: model_headers.NOT_MODIFIED,
        409: NO_STOCK,
        422: documented_refusal("category_id", "x", "must be a whole number from 0 to 2147483647"),
    },
)
async def popular(request: Request) -> Response:
    """Return products by number of ratings, then by damped mean; filters as for `/recommendations/{user_id}`."""
    asked = RequestReader.of(request)
    list_request = list_request_of(asked, request.app.state.default_limit)
    asked.done()
    return Response(
        orjson.dumps({"popular": await popular_items(request, list_request)}), media_type="application/json"
    )


async def popular_items(request: Request, list_request: ListRequest) -> list[dict[str, Any]]:
    """Return the popular products that a request asks for, for the route and for the page."""
    model: ServedModel = request.app.state.model
    request.state.model = model
    check_stock(list_request, model.products.catalog)
    make = partial(model.select_popular, list_request)
    slow_answers: Turns = request.app.state.slow_answers
    found = await slow_answers.make(request, model, make) if takes_long(model, list_request) else make()
    return [
        listed(model, rank, item.column, predicted_rating=round(item.predicted_rating, 3))
        | {"ratings": int(model.raters[item.column])}
        for rank, item in enumerate(found, start=list_request.offset + 1)
    ]
