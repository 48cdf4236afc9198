"""The pages at /shoppers: search for a person, and what one person rated beside what is recommended, and why.

Everything that can be chosen stands in the address: the rankings, the filters, and the ratings of a what-if
(``rate=PRODUCT:STARS``), which are stored nowhere. So a page can be sent on, reloaded and gone back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from recommender.errors import DatabaseError
from recommender.live import LiveModel
from recommender.model import ServedModel
from recommender.ranking import CLASSIC, TASTE, AutoParameters, TasteSimilarity
from recommender.service.pages.cards import Card, add_images, card_of, category_names, levels_of
from recommender.service.pages.frame import add_page, render
from recommender.service.pages.moves import Moves, moves_between
from recommender.service.pages.words import FORMULAS, SUPPORT, one_segment, query_of
from recommender.service.parameters import RequestReader, check_served
from recommender.service.problems import NOT_KEPT
from recommender.service.routes.people import rated_by
from recommender.service.routes.recommendations import list_of
from recommender.service.routes.search import FOUND, people_of, places_of
from recommender.service.routes.what_if import MOST_RATINGS, supposed
from recommender.shop import Scale

router = APIRouter(include_in_schema=False)

MOST_RATED = 100  # ratings that the page shows
N_CLOSEST = 3  # neighbors whose shared products stand on the page
LONGEST_STRIP = 60  # neighbors whose stars stand on the page
FILTERS = ("category_id", "min_price", "max_price", "min_stars", "diversity", "limit", "offset")
Pairs = list[tuple[str, str]]


async def search(request: Request) -> Response:
    """Return the search, or go to the shopper whose id was given, or to somebody."""
    root, asked = request.scope.get("root_path", ""), request.query_params
    if wanted := asked.get("id", "").strip():
        return RedirectResponse(f"{root}/shoppers/{one_segment(wanted)}", 303, NOT_KEPT)
    searched = any(asked.get(name) for name in ("kind", "country", "age_group"))
    found = await people_of(request) if searched else None
    if asked.get("kind") == "somebody" and found and not (asked.get("country") or asked.get("age_group")):
        return RedirectResponse(f"{root}/shoppers/{one_segment(found[0]['user_id'])}", 303, NOT_KEPT)
    try:
        places = await places_of(request)
    except DatabaseError:
        places = {"country": [], "age_group": []}
    chosen = {name: asked.get(name, "") for name in ("kind", "country", "age_group")}
    twin = [("This page as JSON", f"/users{query_of(chosen.items())}")]
    return render(
        request,
        "search.html",
        found=found,
        places=places,
        chosen=chosen,
        by_text=request.app.state.model.ids.is_text,
        most=FOUND,
        twin=twin,
    )


async def shopper(request: Request) -> Response:
    """Return what a person rated beside one or two lists."""
    asked = _Asked(request)
    model: LiveModel = request.app.state.model
    for ranking in asked.rankings:
        check_served(ranking, model)
    supposing = await supposed(request, model, asked.user_id, asked.steps)
    filters = query_of(asked.filters)[1:]
    lists, sources = [], []
    for ranking in asked.rankings:
        query = f"explain=all&ranking={ranking}&{filters}".rstrip("&").encode()
        answer = await list_of(request, supposing, str(asked.user_id), query, named=True)
        lists.append(orjson.loads(answer.body)["recommendations"])
        sources.append(answer.sources)
    moves = await _moves(request, model, asked, lists[0])
    rated = rated_by(model, asked.user_id, MOST_RATED)
    cards = [[_listed(model, item) for item in items] for items in lists]
    given = [card_of(model, item["product_id"], rating=item["rating"]) for item in rated["ratings"]]
    gone = [card_of(model, product_id) for product_id in moves.gone]
    images = await add_images(request, [*(card for items in cards for card in items), *given, *gone])
    both = set.intersection(*({card["product_id"] for card in items} for items in cards)) if len(cards) > 1 else set()
    return render(
        request,
        "shopper.html",
        images=images,
        asked=asked,
        model=model,
        columns=list(zip(asked.rankings, cards, sources, strict=True)),
        rated=given,
        total=rated["total"],
        supposed=[card_of(model, product_id, rating=value) for product_id, value in asked.rated.items()],
        moves=moves,
        gone=gone,
        both=both,
        categories=await category_names(request),
        levels=levels_of(model.matrix.scale),
        formula=partial(_formula, model),
        support=SUPPORT,
        twin=_twins(asked, filters),
    )


class _Asked:
    """What the address asks for, and the addresses of pages that differ from it. InvalidParameterError."""

    def __init__(self, request: Request) -> None:
        reader = RequestReader.of(request)
        model: ServedModel = request.app.state.model
        self.user_id = reader.user_id(model.ids)
        self._path = f"{request.scope.get('root_path', '')}/shoppers/{one_segment(self.user_id)}"
        self.ranking = reader.ranking() or model.ranking
        beside = reader.once("beside") or None
        self.beside = beside if beside != self.ranking else None
        self.filters: Pairs = [(name, text) for name in FILTERS for text in reader.all(name) if text]
        self.values = dict.fromkeys(FILTERS, "") | dict(self.filters)
        scale = model.matrix.scale
        given = ratings_in(reader, reader.all("rate"), scale)
        self.rated = {product: scale.stars_of(steps) for product, steps in given.items() if steps is not None}
        self.steps = {product: steps for product, steps in given.items() if steps is not None}
        undo = ratings_in(reader, reader.all("undo"), scale, "undo")
        self.undo = {product: None if steps is None else scale.stars_of(steps) for product, steps in undo.items()}
        self.is_undone = reader.once("undone") is not None
        self.is_saving = bool(self.rated) and reader.once("save") is not None
        reader.done()

    @property
    def rankings(self) -> list[str]:
        """The rankings of the lists, from the left."""
        return [self.ranking, *([self.beside] if self.beside else [])]

    @property
    def state(self) -> Pairs:
        """The query of this page."""
        rated = [("rate", f"{product}:{stars:g}") for product, stars in self.rated.items()]
        return [("ranking", self.ranking), ("beside", self.beside or ""), *self.filters, *rated]

    def link(self, **changed: Any) -> str:
        """Return the address of this page with other values; None takes one away."""
        return self._address([pair for pair in self.state if pair[0] not in changed] + list(changed.items()))

    def rate(self, product_id: str, stars: str | None) -> str:
        """Return the address of this page with another rating of a product; None: without one."""
        kept = [pair for pair in self.state if pair[0] != "rate" or pair[1].rpartition(":")[0] != product_id]
        return self._address(kept + ([] if stars is None else [("rate", f"{product_id}:{stars}")]))

    @property
    def form(self) -> str:
        """The address of the form that stores ratings."""
        return f"{self._path}/ratings"

    def _address(self, pairs: Sequence[tuple[str, Any]]) -> str:
        return self._path + query_of(pairs)


def ratings_in(reader: RequestReader, texts: Sequence[str], scale: Scale, name: str = "rate") -> dict[str, int | None]:
    """Return the ratings in these texts, ``PRODUCT:STARS``, in steps; None without stars. Faults are noted."""
    levels = {f"{scale.stars_of(steps):g}": steps for steps in range(scale.least, scale.most + 1)}
    found: dict[str, int | None] = {}
    for text in texts:
        product, _, stars = text.rpartition(":")
        if product and (not stars or stars in levels):
            found[product] = levels.get(stars)
        else:
            reader.refuse(name, text, f"must be a product, a colon and a rating: {scale.text()}")
    if len(found) > MOST_RATINGS:
        reader.refuse(name, str(len(found)), f"must be given {MOST_RATINGS} times at most")
    return found


async def _moves(request: Request, model: LiveModel, asked: _Asked, now: list[dict[str, Any]]) -> Moves:
    """Return what moved in the first list by the what-if."""
    if not asked.rated:
        return Moves({}, [])
    query = f"ranking={asked.ranking}&{query_of(asked.filters)[1:]}".rstrip("&").encode()
    answer = await list_of(request, model, str(asked.user_id), query, named=True)
    before = [item["product_id"] for item in orjson.loads(answer.body)["recommendations"]]
    return moves_between(before, [item["product_id"] for item in now])


def _listed(model: ServedModel, item: dict[str, Any]) -> Card:
    why = item["explanation"]
    closest = [
        one | {"shared": [card_of(model, product) for product in one["shared_products"]]}
        for one in why["closest"][:N_CLOSEST]
    ]
    because = [one | {"card": card_of(model, one["product_id"])} for one in why.get("because", [])]
    predicted = item["predicted_rating"]
    return card_of(
        model,
        item["product_id"],
        rank=item["rank"],
        predicted=predicted,
        why=why | {"closest": closest, "strip": why["closest"][:LONGEST_STRIP], "because": because},
    )


def _formula(model: ServedModel, ranking: str, cards: list[Card]) -> list[str]:
    """Return the formula of what ranked most of a list, with the constants of the model."""
    sources = [card["why"]["source"] for card in cards]
    most = max(dict.fromkeys(sources), key=sources.count)
    found = most if most in FORMULAS else CLASSIC if ranking == CLASSIC else TASTE if most == "neighbors" else "others"
    known = model.similarity
    chosen = known.chosen(ranking) if isinstance(known, TasteSimilarity) else AutoParameters()
    return [line.format(**chosen._asdict()) for line in FORMULAS[found]]


def _twins(asked: _Asked, filters: str) -> list[tuple[str, str]]:
    """Return the addresses of the API whose answers the page shows."""
    user, more = one_segment(asked.user_id), f"&{filters}" if filters else ""
    found = [
        (f"List by {ranking} as JSON", f"/recommendations/{user}?explain=all&ranking={ranking}{more}")
        for ranking in asked.rankings
    ]
    return [*found, ("Ratings as JSON", f"/users/{user}/ratings")]


add_page(router, "/shoppers", search, of_people=True)
add_page(router, "/shoppers/{user_id:path}", shopper, of_people=True)
