"""The form that stores the ratings of a what-if, and the one that undoes it.

Each sends its ratings as ``rate=PRODUCT:STARS``; without stars the rating is deleted. The answer leads back to the
person's page, whose address then has what was there before (``undo=PRODUCT:STARS``), or that it was undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from recommender.live import LiveModel
from recommender.service.pages.frame import add_page, refuse
from recommender.service.pages.shopper import ratings_in
from recommender.service.pages.sign_in import NOT_OURS
from recommender.service.pages.words import one_segment, query_of
from recommender.service.parameters import RequestReader
from recommender.service.problems import NOT_KEPT
from recommender.service.routes.people import rated_by
from recommender.service.session import is_own_form
from recommender.shop import Scale
from recommender.updates import ModelUpdater, delete_rating, store_rating

router = APIRouter(include_in_schema=False)


async def save(request: Request) -> Response:
    """Store or delete the ratings of the form in one transaction, and go back to the person."""
    pairs = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    if not is_own_form(request, dict(pairs).get("form_token", "")):
        return refuse(request, 403, NOT_OURS, "Load the page again and send it from there.")
    asked = RequestReader(b"", request.path_params)
    model: LiveModel = request.app.state.model
    scale = model.matrix.scale
    user_id, ratings = (
        asked.user_id(model.ids),
        ratings_in(asked, [text for name, text in pairs if name == "rate"], scale),
    )
    asked.done()
    before = {one["product_id"]: one["rating"] for one in rated_by(model, user_id, model.n_ratings)["ratings"]}
    watch: ModelUpdater = request.app.state.updater
    await watch.write(user_id, lambda at, user: _store(at, user, ratings, before, scale))
    undo = [("undo", f"{product}:{before[product]:g}" if product in before else f"{product}:") for product in ratings]
    if ("undone", "1") in pairs:  # nothing is left to be undone
        undo = [("undone", "1")]
    ranking = [("ranking", text) for name, text in pairs if name == "ranking"]
    root = request.scope.get("root_path", "")
    back = f"{root}/shoppers/{one_segment(user_id)}{query_of([*ranking, *undo])}"
    return RedirectResponse(back, 303, NOT_KEPT)


def _store(
    connection: Connection, user_id: int, ratings: Mapping[str, int | None], before: Mapping[str, float], scale: Scale
) -> None:
    for product, steps in ratings.items():
        if steps is not None:
            store_rating(connection, user_id, product, steps, scale)
        elif product in before:
            delete_rating(connection, user_id, product)


add_page(router, "/shoppers/{user_id:path}/ratings", save, method="POST", of_people=True)
