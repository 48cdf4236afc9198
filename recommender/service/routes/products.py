"""The HTTP routes about products."""

from __future__ import annotations

import re
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from recommender.errors import UnknownProductError
from recommender.model.served_model import ServedModel
from recommender.service import model_headers
from recommender.service.parameters import (
    LARGEST_LIMIT,
    LIMIT,
    documented_json,
    documented_refusal,
    limit_of,
)
from recommender.service.problems import InvalidParameterError, documented_problem
from recommender.service.product_dict import listed, listed_schema

_ASIN = re.compile(r"[0-9A-Z]{10}")

router = APIRouter()

PRODUCT_ID = {
    "name": "product_id",
    "in": "path",
    "required": True,
    "description": "An ASIN of the catalog or of a rating: ten characters of 0-9 and A-Z.",
    "schema": {"type": "string", "pattern": "^[0-9A-Z]{10}$"},
    "example": "B08N5WRWNW",
}
_EXAMPLE = {
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
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["product_id", "similar"],
    "additionalProperties": False,
    "properties": {
        "product_id": {"type": "string"},
        "similar": {
            "type": "array",
            "maxItems": LARGEST_LIMIT,
            "items": listed_schema(
                {
                    "similarity": {"type": "number", "minimum": 0, "maximum": 1},
                    "users_in_common": {"type": "integer", "minimum": 1},
                }
            ),
        },
    },
}
NO_SUCH_PRODUCT: dict[int | str, dict[str, Any]] = {
    304: model_headers.NOT_MODIFIED,
    404: documented_problem("No such product.", status=404, detail="product B000000099 is unknown"),
    422: documented_refusal("product_id", "x", "must be ten characters of 0-9 and A-Z"),
}


@router.get(
    "/products/{product_id}/similar",
    summary="Products that the same people rated alike",
    openapi_extra={"parameters": [PRODUCT_ID, LIMIT, model_headers.IF_NONE_MATCH]},
    responses={
        200: documented_json(
            _SCHEMA,
            _EXAMPLE,
            "Other products by cosine, best first; none is made up: of what nobody had rated when the model was made "
            "there are none.",
            headers=model_headers.DOCUMENTED,
        ),
        **NO_SUCH_PRODUCT,
    },
)
async def similar(request: Request) -> Response:
    """Other products of the catalog by the cosine of their ratings, with how many users rated both."""
    errors: list[dict[str, str]] = []
    product_id = product_id_of(request, errors)
    limit = limit_of(request, request.app.state.default_limit, errors)
    if errors:
        raise InvalidParameterError(errors)
    model: ServedModel = request.app.state.model
    if model.products.find(product_id) is None:  # as `/products/{product_id}` finds it, what came later too
        raise UnknownProductError(product_id)
    column = model.products.column_of(product_id)
    return Response(orjson.dumps(_body(model, product_id, column, limit)), media_type="application/json")


# a load balancer may ask with HEAD; the framework's GET routes do not answer it
router.add_route("/products/{product_id}/similar", similar, methods=["HEAD"], include_in_schema=False)


def product_id_of(request: Request, errors: list[dict[str, str]]) -> str:
    """The product_id in the path; what is wrong with it is noted in ``errors``."""
    product_id: str = request.path_params["product_id"]
    if not _ASIN.fullmatch(product_id):
        message = "must be ten characters of 0-9 and A-Z"
        errors.append({"parameter": "product_id", "value": product_id[:100], "message": message})
    return product_id


def _body(model: ServedModel, product_id: str, column: int | None, limit: int) -> dict[str, Any]:
    if column is None:  # nobody had rated it
        return {"product_id": product_id, "similar": []}
    found = model.similar_products.similar(column, limit)
    items = [
        listed(model, rank, other, similarity=round(cosine, 3), users_in_common=common)
        for rank, (other, cosine, common) in enumerate(zip(*(a.tolist() for a in found), strict=True), start=1)
    ]
    return {"product_id": product_id, "similar": items}
