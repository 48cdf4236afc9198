"""The HTTP route of a what-if: the list that a person would get after some ratings. Nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, FailFast

from recommender.live import LiveModel
from recommender.service.api_keys import DOCUMENTED_KEY, REFUSALS, require_key
from recommender.service.filter_parameters import LIST_PARAMETERS
from recommender.service.json_body import ProductId, Steps, fault, read_body
from recommender.service.openapi import (
    DATABASE_AWAY,
    Responses,
    documented_body,
    documented_json,
    documented_refusal,
    list_schema,
    object_schema,
    under_paths,
)
from recommender.service.parameters import (
    NOT_IN_THIS_MODEL,
    PRODUCT_ID_SCHEMA,
    RANKING,
    USER_ID,
    USER_ID_IN_QUERY,
    RequestReader,
)
from recommender.service.problems import NOT_KEPT, documented_problem
from recommender.service.product_json import PRODUCT_ID_ITEM, RATING_ITEM
from recommender.service.routes.recommendations import EXAMPLE, EXPLAIN, RECOMMENDATIONS_SCHEMA, list_of
from recommender.shop import UserId
from recommender.updates import ModelUpdater

MOST_RATINGS = 50

router = APIRouter(dependencies=[DOCUMENTED_KEY])

_BODY = {"ratings": [{"product_id": "B08N5WRWNW", "rating": 5}]}
_RATED = object_schema({"product_id": PRODUCT_ID_ITEM | PRODUCT_ID_SCHEMA, "rating": RATING_ITEM})
_BODY_SCHEMA = object_schema({"ratings": list_schema(_RATED, minItems=1, maxItems=MOST_RATINGS)})


def _some(items: Any) -> Any:
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_RATINGS:
        raise fault(f"must be a list of 1 to {MOST_RATINGS} ratings", items)
    return items


def _keyed(item: Any) -> Any:
    if not isinstance(item, dict) or item.keys() != {"product_id", "rating"}:
        raise fault("must be objects with product_id and rating", item)
    return item


class _Rating(BaseModel):
    product_id: ProductId
    rating: Steps


class _Ratings(BaseModel):
    ratings: Annotated[list[Annotated[_Rating, BeforeValidator(_keyed)]], FailFast(), BeforeValidator(_some)]


_RESPONSES: Responses = {
    200: documented_json(RECOMMENDATIONS_SCHEMA, EXAMPLE, "The list as it would be."),
    404: documented_problem("The user or a product is unknown.", status=404, detail="user 99 is unknown"),
    409: NOT_IN_THIS_MODEL,
    422: documented_refusal("ratings", "[]", f"must be a list of 1 to {MOST_RATINGS} ratings"),
    503: DATABASE_AWAY,
    **REFUSALS,
}


@under_paths(
    router.post,
    ("/what-if", "The same, by the id in the query", [USER_ID_IN_QUERY]),
    ("/users/{user_id}/what-if", "Products after some ratings", [USER_ID]),
    parameters=[*LIST_PARAMETERS, RANKING, EXPLAIN],
    extra={"requestBody": documented_body(_BODY_SCHEMA, _BODY)},
    responses=_RESPONSES,
)
async def what_if(request: Request) -> Response:
    """Return what `GET /recommendations/{user_id}` would answer after these ratings; needs a key. Nothing is stored."""
    require_key(request)
    asked = RequestReader.of(request)
    served: LiveModel = request.app.state.model
    user_id = asked.user_id(served.ids)
    given = await read_body(request, _Ratings, asked.errors, served.matrix.scale)
    asked.done()
    ratings = {item.product_id: item.rating for item in given.ratings}
    request.state.model = served
    model = await supposed(request, served, user_id, ratings)
    answer = await list_of(request, model, str(user_id), request.scope["query_string"], named=True)
    return Response(answer.body, 200, NOT_KEPT, "application/json")


async def supposed(request: Request, model: LiveModel, user_id: UserId, ratings: Mapping[str, int]) -> LiveModel:
    """Return the model with the ratings, in steps, if there are any. As `ModelUpdater.suppose`."""
    watch: ModelUpdater = request.app.state.updater
    number = model.number_of(user_id)
    model.ratings_of(number)  # UnknownUserError
    return await watch.suppose(model, number, ratings) if ratings else model
